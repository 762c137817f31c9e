import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Message } from 'kafkajs'
import {
  bytesOf,
  MAX_RECORD_BYTES,
  MODELS,
  readMessages,
  SCHEMAS,
  type StoredMessage,
  type Suite,
} from '../corpus/corpus.ts'
import { goodValue } from '../corpus/good-values.ts'
import { committedOffsets } from '../support/broker.ts'
import { headerText, type LogRecord } from '../support/record-log.ts'
import { Testbed } from '../support/testbed.ts'
import { writeFixtureBundle } from './bundles.ts'
import { schemaFolder, temporaryFolder } from './support.ts'

/** The corpus through a real worker: every hostile message between two good ones, all in one partition. */
describe('the hostile corpus, through a worker', { timeout: 90_000, concurrency: 2 }, () => {
  for (const suite of Object.keys(MODELS) as Suite[]) {
    it(`in ${suite}: each has its outcome, and the good rows theirs, in order`, async t => {
      const hostile = readMessages().filter(message => message.suite === suite)
      const bed = await serve(t, suite, hostile)
      const outcome = await bed.outcome()
      const { lost, doubled, foreign, misordered, altered } = await bed.audit(outcome)
      assert.deepEqual({ lost, doubled, foreign, misordered }, { lost: [], doubled: [], foreign: [], misordered: [] })
      // Headers that have a name of Sluice's own are replaced: all others, keys and values come through.
      const forged = new Set(hostile.flatMap(({ name }, i) => (name.startsWith('header ') ? [2 * i + 1] : [])))
      assert.deepEqual(
        altered.filter(what => !forged.has(Number(/\/(\d+) in /.exec(what)?.[1]))),
        [],
      )

      const codes = new Map(outcome.deadLetters.map(letter => [offsetOf(letter), headerText(letter, 'error-code')]))
      const wrong = hostile.flatMap(({ name, expected }, i) => {
        const code = codes.get(2 * i + 1) ?? 'prediction'
        return code === expected ? [] : [`${name}: ${code}, expected ${expected}`]
      })
      assert.deepEqual(wrong, [])
      for (const prediction of outcome.predictions) assertGood(suite, prediction)
      assert.deepEqual(await committedOffsets(bed.group, bed.input), [2 * hostile.length + 1])
    })
  }
})

/** Good row, hostile message, good row, …: the hostile ones have the odd offsets. */
async function serve(t: TestContext, suite: Suite, hostile: readonly StoredMessage[]): Promise<Testbed> {
  const store = temporaryFolder(t, 'corpus')
  writeFixtureBundle(store, MODELS[suite])
  const env = {
    MODEL_STORE: store,
    MODEL_NAME: MODELS[suite].graph,
    INPUT_FORMAT: suite.startsWith('json') ? 'json' : 'avro',
    OUTPUT_FORMAT: 'json',
    SCHEMA_DIR: schemaFolder(t, SCHEMAS),
    MAX_RECORD_BYTES: String(MAX_RECORD_BYTES),
  }
  const bed = await Testbed.create('corpus', { partitions: 1, env })
  t.after(() => bed.close())
  const messages: Message[] = [good(suite, 0)]
  for (const [i, stored] of hostile.entries()) messages.push(messageOf(stored), good(suite, i + 1))
  for (const request of requestsOf(messages)) await bed.produce(request)
  const worker = bed.startWorker()
  await bed.caughtUp(40_000)
  assert.equal(await worker.stop(), 0)
  const complaints = worker.log.filter(({ level }) => level === 'error' || level === 'warn')
  assert.deepEqual(complaints, [], 'a bad record is no trouble of the worker')
  return bed
}

/** In requests that a broker of default settings takes. */
function requestsOf(messages: readonly Message[]): Message[][] {
  const requests: Message[][] = [[]]
  let size = 0
  for (const message of messages) {
    const bytes = message.value?.length ?? 0
    if (size + bytes > 300_000) {
      requests.push([])
      size = 0
    }
    requests.at(-1)!.push(message)
    size += bytes
  }
  return requests
}

const good = (suite: Suite, n: number): Message => ({ key: `good ${n}`, value: goodValue(suite, n) })

/** The producer of these tests knows no null header values, and only names that are text. */
function messageOf({ key, value, headers = [] }: StoredMessage): Message {
  const named: Record<string, (Buffer | string)[]> = {}
  for (const [nameParts, content] of headers) {
    const name = bytesOf(nameParts).toString()
    named[name] = [...(named[name] ?? []), bytesOf(content ?? [])]
  }
  const keyed = key === undefined || key === null ? null : bytesOf(key)
  return { key: keyed, value: value === null ? null : bytesOf(value), headers: named }
}

const offsetOf = (output: LogRecord) => Number(headerText(output, 'source')!.split('/')[2])

/** Even offsets are good rows, each with a number of its own. */
function assertGood(suite: Suite, prediction: LogRecord): void {
  const offset = offsetOf(prediction)
  if (offset % 2 === 1) return
  const n = offset / 2
  const expected = suite.endsWith('words') ? { echo: [`word ${n}`, 'two'] } : { next_count: n + 1, twice: [n, 0] }
  assert.deepEqual(JSON.parse(String(prediction.value)), expected, String(prediction.key))
}
