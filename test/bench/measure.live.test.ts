import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { batchSizesOf } from '../../bench/batch-sizes.ts'
import type { Contender } from '../../bench/contender.ts'
import { consume, echo, worker } from '../../bench/contenders.ts'
import { measure } from '../../bench/measure.ts'
import { measureRuntime } from '../../bench/runtime-limit.ts'
import { type Input, Stage } from '../../bench/stage.ts'
import { openWorkload } from '../../bench/workload.ts'
import { METRICS } from '../../src/ops/metric-table.ts'
import { brokers, endOffsets } from '../support/broker.ts'
import type { Sample } from '../support/metrics.ts'

/** Not a multiple of what a batch or a partition holds. */
const RECORDS = 120_001
const PARTITIONS = 3
/** A partition needs three transactions for its records, so they are seen to be done one after another, however fast. */
const SLOWLY = { commitIntervalMs: 300, audit: true }

let stage: Stage
let input: Input

before(async () => {
  stage = await Stage.at(brokers()[0]!)
  input = await stage.createInput(await openWorkload('iris'), PARTITIONS, RECORDS)
})

after(async () => {
  await stage.dropInput(input)
  await stage.close()
})

test('an input has exactly the records that were asked for, evenly', async () => {
  assert.deepEqual(await endOffsets(input.topic), [40_001, 40_000, 40_000])
})

test('the worker is measured and counted, and its batch sizes are what the runtime alone is given', async () => {
  let metrics: readonly Sample[] = []
  const onMetrics = (samples: readonly Sample[]) => {
    metrics = samples
  }
  const found = await measure(stage, worker(), input, { ...SLOWLY, seconds: 1, onMetrics })
  assert.ok(found.recordsPerSecond > 0 && found.records > 0)
  assert.ok(found.cpuPerMillion! > 0 && found.rssMiB! > 0)
  assert.ok(found.perTransaction! >= 1 && found.perTransaction! <= RECORDS / PARTITIONS + 1)
  const { inputs, predictions, lost, doubled, otherFaults } = found.counts!
  assert.ok(inputs >= found.records)
  assert.deepEqual(
    { predictions, lost, doubled, otherFaults },
    { predictions: inputs, lost: 0, doubled: 0, otherFaults: 0 },
  )
  const runs = metrics.find(({ name }) => name === `${METRICS.batchSize.name}_count`)!
  const sizes = batchSizesOf(metrics)
  assert.equal(
    sizes.reduce((sum, size) => sum + size.runs, 0),
    runs.value,
  )
  const alone = await measureRuntime(stage, input.workload, { workload: 'iris', sizes, sessions: 2, seconds: 0.2 })
  assert.ok(alone.rowsPerSecond > 0)
})

test('the echo publishes every record once, with the worker’s guarantee', async () => {
  const found = await measure(stage, echo, input, { ...SLOWLY, seconds: 10 })
  assert.deepEqual(found.counts, { inputs: RECORDS, predictions: RECORDS, lost: 0, doubled: 0, otherFaults: 0 })
})

test('a run that has lost records is no result', async () => {
  // It commits what it has read, and publishes nothing.
  await assert.rejects(
    measure(stage, consume, input, { seconds: 10, audit: true }),
    /0 predictions of 120001 records.*"lost":120001/,
  )
})

test('a contender that ends by itself is told of, with its last words', async () => {
  const broken: Contender = {
    name: 'broken',
    command: () => ({ file: process.execPath, args: ['-e', 'console.error("no luck"); process.exit(3)'], env: {} }),
  }
  await assert.rejects(measure(stage, broken, input, { seconds: 5 }), /broken on iris ended.*exit code 3[\s\S]*no luck/)
})
