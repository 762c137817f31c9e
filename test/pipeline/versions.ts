import { Batcher } from '../../src/pipeline/batcher.ts'
import type { ServedVersion } from '../../src/pipeline/serving.ts'
import { settle } from './fake-clock.ts'
import { FakeDecoder, textEncoder } from './fake-codec.ts'
import { FakePool, type FakePoolOptions } from './fake-pool.ts'
import { FakeBatcherTelemetry } from './fake-telemetry.ts'
import { MODEL, type TaskHarness } from './task-harness.ts'

/** Another version of the model, with sessions of its own. */
export function versionOf(name: string, harness: TaskHarness, options: FakePoolOptions = {}) {
  const pool = new FakePool(options)
  const batcher = new Batcher({
    pool,
    model: { ...MODEL, version: name },
    maxQueueDelayMs: 0,
    targetLatencyMs: 0,
    telemetry: new FakeBatcherTelemetry(),
    clock: harness.clock,
    probe: async () => {},
    onCondition: () => {},
  })
  const version: ServedVersion = {
    name,
    sha256: MODEL.sha256,
    decoder: new FakeDecoder(),
    encoder: textEncoder,
    batcher,
  }
  return { pool, version }
}

/** Ends everything that is under way in the pools and the committer. */
export async function finish(harness: TaskHarness, ...pools: readonly FakePool[]): Promise<void> {
  const all = [harness.pool, ...pools]
  while (all.some(pool => pool.runs.length > 0) || harness.committer.underWay !== undefined) {
    for (const pool of all) pool.runs[0]?.succeed()
    await settle()
    harness.committer.underWay?.succeed()
    await settle()
  }
}

/** Which version answered which offset, as it was written. */
export const answers = (harness: TaskHarness) =>
  harness.committer.output.predicted.map(({ offset, version }) => `${offset} by ${version}`)
