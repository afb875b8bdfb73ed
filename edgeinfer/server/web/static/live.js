// What the daemon does right now: polled, and kept for the last minutes.

import { getJson } from "./api.js";

export const INTERVAL = 2000;
const MAX_SAMPLES = 150;

/** Samples of /status: sums over all models; rates are per second between two of them. */
export class Live {
  constructor() {
    this.status = null;
    this.machine = null;
    this.peers = null;
    this.error = null;
    this.samples = [];
    this.last = null;
  }

  async poll() {
    try {
      const [status, machine, { peers }] = await Promise.all([getJson("/status"), getJson("/machine"), this.readPeers()]);
      this.machine = machine;
      this.peers = peers;
      this.add(status, Date.now() / 1000);
      this.error = null;
    } catch (error) {
      this.error = error;
      this.last = null;
    }
  }

  /** Without other boards there is nothing to ask again: the setting takes effect at a restart. */
  readPeers() {
    return this.peers?.length === 0 ? { peers: [] } : getJson("/peers");
  }

  add(status, now) {
    this.status = status;
    const sum = (name) => status.models.reduce((total, row) => total + (row.stats[name] ?? 0), 0);
    const totals = Object.fromEntries(["prompt_tokens_total", "cached_tokens_total", "completion_tokens_total"].map((name) => [name, sum(name)]));
    const before = this.last;
    this.last = { now, pid: status.pid, totals };
    if (before && before.pid !== status.pid) this.peers = null;
    if (!before || before.pid !== status.pid) return;
    const rate = (name) => Math.max(0, (totals[name] - before.totals[name]) / (now - before.now));
    this.samples.push({
      now,
      generated: rate("completion_tokens_total"),
      computed: rate("prompt_tokens_total"),
      cached: rate("cached_tokens_total"),
      running: sum("running"),
      waiting: sum("waiting"),
      warmest: warmest(this.machine),
      cells: sum("cells") ? (100 * sum("cells_used")) / sum("cells") : 0,
    });
    if (this.samples.length > MAX_SAMPLES) this.samples.shift();
  }

  series(names) {
    return [this.samples.map((sample) => sample.now), ...names.map((name) => this.samples.map((sample) => sample[name]))];
  }
}

/** The highest temperature in degrees Celsius. */
export const warmest = (machine) => Math.max(0, ...machine.temperatures.map((zone) => zone.temperature));
