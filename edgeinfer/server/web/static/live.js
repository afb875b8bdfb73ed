// What the daemon does right now: polled while somebody looks.

import { getJson } from "./api.js";

export const INTERVAL = 2000;

/** What the daemon says of itself; `samples` are those of GET /history, of all models together. */
export class Live {
  constructor() {
    this.status = null;
    this.machine = null;
    this.peers = null;
    this.error = null;
    this.samples = [];
  }

  async poll() {
    try {
      const asked = [getJson("/status"), getJson("/machine"), getJson("/history"), this.readPeers()];
      const [status, machine, { samples }, { peers }] = await Promise.all(asked);
      Object.assign(this, { status, machine, samples, peers, error: null });
    } catch (error) {
      this.error = error;
      this.peers = null;
    }
  }

  /** Without other boards there is nothing to ask again: the setting takes effect at a restart. */
  readPeers() {
    return this.peers?.length === 0 ? { peers: [] } : getJson("/peers");
  }

  series(names) {
    return [this.samples.map((sample) => sample.at), ...names.map((name) => this.samples.map((sample) => sample[name]))];
  }
}
