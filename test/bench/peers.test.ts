import assert from 'node:assert/strict'
import { before, suite, type TestContext, test } from 'node:test'
import type { Message } from 'kafkajs'
import * as ort from 'onnxruntime-node'
import { PEERS, type Peer } from '../../bench/peers/index.ts'
import { openWorkload, type Workload } from '../../bench/workload.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { until, withAdmin } from '../support/broker.ts'
import { headerText, type LogRecord, sourceOf } from '../support/record-log.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { assertDeadLetters, irisWorkload, POISON_HEADER } from '../support/workload.ts'
import { PeerProcess, writePredictionSchema } from './peer-process.ts'

/** Peers are told how records lie: they look up no schema, and take every number. */
const UNKNOWN_TO_PEERS = ['unknown-schema-id', 'feature-not-finite']

for (const peer of PEERS) {
  const skip = peer.isBuilt() ? false : `the ${peer.name} peer is not built: node bench/peers/prepare.ts`

  suite(`the ${peer.name} peer`, { skip, concurrency: true, timeout: 120_000 }, () => {
    before(() => peer.prepare(() => {}))

    test('answers each record once while its partitions move from one process to another', async t => {
      const workload = await openWorkload('iris-forest')
      const bed = await openBed(t, peer, workload)
      const { messages, poisoned, expected } = flowers()
      // Nothing is committed unless partitions move or the process ends, so every move meets an open transaction.
      const late = { commitIntervalMs: 30_000 }
      const predicted = (count: number) => {
        const until = (records: readonly LogRecord[]) => records.length >= goodOf(messages.slice(0, count))
        return readTopic(bed.output, { uncommitted: true, until })
      }
      const first = PeerProcess.start(t, peer, workload, bed, late)
      await bed.produce(messages.slice(0, 700))
      await predicted(700)
      const second = PeerProcess.start(t, peer, workload, bed, late)
      await untilMembers(bed.group, 2)
      await bed.produce(messages.slice(700, 1_400))
      await predicted(1_400)
      await first.stop()
      await bed.produce(messages.slice(1_400))
      await predicted(messages.length)
      await second.stop()

      const outcome = await bed.outcome()
      assert.equal(outcome.inputs.length, messages.length)
      assert.equal(outcome.predictions.length, messages.length - poisoned)
      assertExactlyOnce(await bed.audit(outcome))
      assertDeadLetters({ messages, poisoned, expected }, outcome.deadLetters)
      await bed.assertPredictions(outcome, expected)
      for (const record of outcome.predictions) assertPlace(record)
    })

    for (const name of ['ffnn', 'ffnn-json'] as const) {
      test(`reads the records of ${name}, one transaction a poll`, async t => {
        const workload = await openWorkload(name)
        const bed = await openBed(t, peer, workload)
        const good = Array.from({ length: 300 }, (_, i) => workload.values[i % workload.values.length]!)
        const bad = Buffer.from(good[0]!.subarray(0, -1))
        const values = [...good.slice(0, 100), bad, null, ...good.slice(100)]
        await bed.produce(values.map((value, i) => ({ key: `row-${i}`, value, partition: i % 4 })))
        const worker = PeerProcess.start(t, peer, workload, bed, { commitIntervalMs: 0 })
        await worker.caughtUp()
        await worker.stop()

        const outcome = await bed.outcome()
        assert.equal(outcome.predictions.length, good.length)
        assert.equal(outcome.deadLetters.length, 2)
        assertExactlyOnce(await bed.audit(outcome))
        const expected = await answersOf(workload)
        await bed.assertPredictions(outcome, ({ value }) => expected.get(value!.toString('latin1')))
      })
    }
  })
}

async function openBed(t: TestContext, peer: Peer, workload: Workload): Promise<Testbed> {
  const bed = await Testbed.create(`peer-${peer.name}`, { model: workload.modelName })
  t.after(() => bed.close())
  await writePredictionSchema(bed.schemaDir, workload, bed.output)
  return bed
}

/** The usual iris records, less those whose faults peers do not look for. The last ones are good. */
function flowers() {
  const { messages, expected } = irisWorkload(2_010, { partitions: 4, poisonEvery: 40 })
  const known = messages.filter(message => !UNKNOWN_TO_PEERS.includes(poisonOf(message) ?? ''))
  return { messages: known, poisoned: known.length - goodOf(known), expected }
}

function goodOf(messages: readonly Message[]): number {
  return messages.filter(message => poisonOf(message) === undefined).length
}

function poisonOf({ headers }: Message): string | undefined {
  return headers?.[POISON_HEADER] as string | undefined
}

async function untilMembers(group: string, count: number): Promise<void> {
  await withAdmin(admin => {
    let seen = ''
    const stable = async () => {
      const { groups } = await admin.describeGroups([group])
      const { state, members } = groups[0]!
      seen = `${state} with ${members.length} members`
      return state === 'Stable' && members.length === count
    }
    return until(stable, () => `group ${group} is ${seen}, not stable with ${count}`)
  })
}

function assertPlace(prediction: LogRecord): void {
  const partition = Number(headerText(prediction, 'source')!.split('/')[1])
  assert.equal(prediction.partition, partition, sourceOf(prediction))
  assert.ok(prediction.transactional, sourceOf(prediction))
}

/** What ONNX Runtime for Node makes of each value of the workload, by the value's bytes. */
async function answersOf(workload: Workload): Promise<Map<string, Record<string, unknown>>> {
  const { modelFile, modelInput, modelOutputs, features, values, layout, field, bundle } = workload
  const session = await ort.InferenceSession.create(modelFile)
  const rows = values.map(value => {
    if (layout === 'json') return JSON.parse(value.toString())[field] as number[]
    // The empty block ends the array, so the floats end a byte before the value does.
    const begin = value.length - 1 - Float32Array.BYTES_PER_ELEMENT * features
    return Array.from({ length: features }, (_, i) => value.readFloatLE(begin + Float32Array.BYTES_PER_ELEMENT * i))
  })
  const shape = bundle.spec.inputs[0]!.rowShape
  const tensor = new ort.Tensor('float32', Float32Array.from(rows.flat()), [rows.length, ...shape])
  const outputs = await session.run({ [modelInput]: tensor }, modelOutputs)
  return new Map(values.map((value, row) => [value.toString('latin1'), answerOf(row)]))

  function answerOf(row: number): Record<string, unknown> {
    const fields = bundle.spec.outputs.map(({ tensor, field, width }) => {
      const elements = Array.from(outputs[tensor]!.data as Float32Array).slice(row * width, (row + 1) * width)
      return [field, width === 1 ? Number(elements[0]) : elements.map(Number)]
    })
    return Object.fromEntries(fields)
  }
}
