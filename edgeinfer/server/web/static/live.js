// What the daemon does right now: polled, and kept for the last minutes.

import { getJson } from "./api.js";

export const INTERVAL = 2000;
const MAX_SAMPLES = 150;

/** Samples of /status; `rates` are per second between two of them. */
export class Live {
  constructor() {
    this.status = null;
    this.machine = null;
    this.error = null;
    this.samples = [];
    this.last = null;
  }

  async poll() {
    try {
      const [status, machine] = await Promise.all([getJson("/status"), getJson("/machine")]);
      this.machine = machine;
      this.add(status, Date.now() / 1000);
      this.error = null;
    } catch (error) {
      this.error = error;
      this.last = null;
    }
  }

  add(status, now) {
    this.status = status;
    const stats = status.stats ?? {};
    const before = this.last;
    this.last = { now, pid: status.pid, stats };
    if (!before || before.pid !== status.pid) return;
    const seconds = now - before.now;
    const rate = (name) => Math.max(0, ((stats[name] ?? 0) - (before.stats[name] ?? 0)) / seconds);
    this.samples.push({
      now,
      generated: rate("completion_tokens_total"),
      read: rate("prompt_tokens_total") - Math.min(rate("prompt_tokens_total"), rate("cached_tokens_total")),
      cached: rate("cached_tokens_total"),
      running: stats.running ?? 0,
      waiting: stats.waiting ?? 0,
      warmest: Math.max(0, ...(this.machine?.temperatures ?? []).map((zone) => zone.temperature)),
      cells: stats.cells ? (100 * (stats.cells_used ?? 0)) / stats.cells : 0,
    });
    if (this.samples.length > MAX_SAMPLES) this.samples.shift();
  }

  series(names) {
    return [this.samples.map((sample) => sample.now), ...names.map((name) => this.samples.map((sample) => sample[name]))];
  }
}
