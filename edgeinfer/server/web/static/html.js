// Preact with its hooks and htm, as one import.
import { h, render, Fragment } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render, Fragment };
export { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState, useCallback } from "./vendor/preact-hooks.js";
export const html = htm.bind(h);
