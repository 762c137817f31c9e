import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimClock } from './sim-clock.ts'
import { type Fate, SimNetwork } from './sim-network.ts'
import { SimProcess } from './sim-process.ts'

/** Three requests on one connection, of which the second has a fate; when each arrived, and how each ended. */
async function second(fate: Fate): Promise<{ arrived: string[]; ended: string[] }> {
  const time = new SimClock()
  const process = new SimProcess(time)
  const options = { time, process, seed: 1, requestTimeoutMs: 500, joinTimeoutMs: 5_000, trace: () => {} }
  const network = new SimNetwork(options)
  network.arm({ api: 'any', skip: 1, fate })
  const arrived: string[] = []
  const ended: string[] = []
  const send = (api: string) => {
    const deliver = async () => arrived.push(time.now() < 600 ? api : `${api} late`)
    void network.send({ clientId: 'c', node: 1, api }, deliver).then(
      () => ended.push(`${api} answered`),
      (error: Error) => ended.push(`${api} ${error.name}`),
    )
  }
  send('A')
  await time.advance(100, () => false)
  send('B')
  send('C')
  await time.advance(5_000, () => false)
  return { arrived, ended }
}

const TIMED_OUT = ['A answered', 'B KafkaJSRequestTimeoutError', 'C KafkaJSRequestTimeoutError']
const CLOSED = ['A answered', 'B KafkaJSConnectionClosedError', 'C KafkaJSConnectionClosedError']

test('what is lost takes all that follows on its connection along', async () => {
  assert.deepEqual(await second({ kind: 'lost' }), { arrived: ['A'], ended: TIMED_OUT })
})

test('what is late arrives, in order, after the client gave up', async () => {
  const { arrived, ended } = await second({ kind: 'late', delayMs: 2_000 })
  assert.deepEqual(arrived, ['A', 'B late', 'C late'])
  assert.deepEqual(ended, TIMED_OUT)
})

test('what is unanswered is carried out', async () => {
  assert.deepEqual(await second({ kind: 'unanswered' }), { arrived: ['A', 'B', 'C'], ended: TIMED_OUT })
})

test('what is doubled arrives twice before anything else, and is answered once', async () => {
  const { arrived, ended } = await second({ kind: 'doubled' })
  assert.deepEqual(arrived, ['A', 'B', 'B', 'C'])
  assert.deepEqual(ended, ['A answered', 'B answered', 'C answered'])
})

test('a connection closes before a request, or once it is carried out', async () => {
  assert.deepEqual(await second({ kind: 'refused' }), { arrived: ['A'], ended: CLOSED })
  const { arrived, ended } = await second({ kind: 'cut' })
  assert.deepEqual(arrived.slice(0, 2), ['A', 'B'])
  assert.deepEqual(ended, CLOSED)
})
