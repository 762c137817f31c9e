// A process with fault points and without a worker: sends requests over kafkajs's connections to the port that it is
// given, when its parent asks for one, and reports what became of each.
//
//   node --import …/fault-points.ts striking-child.ts PORT

import { createRequire } from 'node:module'
import '../../src/kafka/kafkajs-fixes.ts'

/** What the parent asks for, and what it is told. */
export type Ask = { readonly ask: string; readonly apiKey: number }
export type Outcome = { readonly outcome: 'answered' | 'failed'; readonly message?: string }

const require = createRequire(import.meta.url)
const ConnectionPool = require('kafkajs/src/network/connectionPool.js') as new (o: object) => Pool
const createSocketFactory = require('kafkajs/src/network/socketFactory.js') as () => unknown
const Encoder = require('kafkajs/src/protocol/encoder.js') as new () => unknown

interface Pool {
  send(exchange: object): Promise<unknown>
}

const silent = { namespace: () => silent, debug() {}, error() {}, warn() {}, info() {} }
const pool = new ConnectionPool({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  logger: silent,
  socketFactory: createSocketFactory(),
  connectionTimeout: 5_000,
  requestTimeout: 20_000,
})

// Neither the tether nor the fault points keep a process alive.
process.channel!.ref()
process.on('message', (message: Partial<Ask>) => {
  if (message.ask !== undefined) void send(message as Ask)
})

async function send({ ask, apiKey }: Ask): Promise<void> {
  const request = { apiKey, apiVersion: 0, apiName: ask, encode: async () => new Encoder() }
  const response = { decode: async () => ({ clientSideThrottleTime: 0 }), parse: async () => undefined }
  try {
    await pool.send({ request, response })
    process.send!({ outcome: 'answered' } satisfies Outcome)
  } catch (error) {
    process.send!({ outcome: 'failed', message: (error as Error).message } satisfies Outcome)
  }
}
