import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RunError, type RunFailure } from '../../src/core/inference.ts'
import type { OnnxSessionPool } from '../../src/inference/pool.ts'
import { viewSlot } from '../../src/inference/slots.ts'
import { Probe } from '../../src/serving/probe.ts'
import { rowSums } from './fixtures.ts'

/** A pool whose sessions fail as told, and the probe that uses it. */
function probe(failure: RunFailure, sample?: Record<string, unknown>) {
  const { spec } = rowSums()
  const slot = (id: number) =>
    viewSlot(id, spec, 1, { inputs: [new SharedArrayBuffer(16)], outputs: [new SharedArrayBuffer(4)] })
  let runs = 0
  const run = async () => {
    runs++
    throw new RunError(failure, 'it failed', 0)
  }
  const pool = { acquire: () => slot(0), run } as unknown as OnnxSessionPool
  return { probe: new Probe(spec, pool, sample), slot: slot(1), runs: () => runs }
}

test('while no good row is known, the probe runs nothing: zeros could cost a thread, and would prove nothing', async () => {
  for (const failure of ['inference-failed', 'session-crashed', 'session-hung'] as const) {
    const { probe: unknown, slot, runs } = probe(failure)
    await unknown.run(0)
    assert.equal(runs(), 0)
    unknown.learn(slot)
    await assert.rejects(unknown.run(0), { code: failure })
    assert.equal(runs(), 1)
  }
})
