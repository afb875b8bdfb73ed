// Numbers and times as people read them.

export function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${Math.round(bytes / 1e6)} MB`;
  return `${Math.round(bytes / 1e3)} kB`;
}

/** Memory, unlike files, comes in powers of two. */
export const memory = (bytes) => (bytes >= 1 << 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`);

export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** Three digits are enough to compare. */
export const rate = (value) => (value < 100 ? value.toFixed(1) : String(Math.round(value)));

export const percent = (share) => `${Math.round(100 * share)} %`;

/** @param seconds since 1970 */
export const moment = (seconds) => new Date(1000 * seconds).toLocaleString();

/** @param time as ISO 8601 */
export const day = (time) => new Date(time).toLocaleDateString();
