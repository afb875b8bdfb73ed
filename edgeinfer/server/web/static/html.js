// Preact with its hooks and htm, as one import.
import { h, render } from "./vendor/preact.js";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "./vendor/preact-hooks.js";
import htm from "./vendor/htm.js";

export { render, useEffect, useLayoutEffect, useReducer, useRef, useState };
export const html = htm.bind(h);

/** A module that is loaded when it is needed: {module, problem}, both null until then. */
export function useModule(load) {
  const [state, setState] = useState({ module: null, problem: null });
  useEffect(() => {
    load().then((module) => setState({ module }), () => setState({ problem: "A part of the page could not be loaded. Reload it." }));
  }, []);
  return state;
}
