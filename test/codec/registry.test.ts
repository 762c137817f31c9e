import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, beforeEach, describe, test } from 'node:test'
import { SchemaRegistry } from '../../src/codec/registry.ts'
import { type Clock, systemClock } from '../../src/core/clock.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

let server: Server
let url: string
let handle: Handler
let requests: string[]

before(async () => {
  server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    requests.push(`${request.method} ${request.url}`)
    handle(request, response, body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/apis/v7/`
})

beforeEach(() => {
  requests = []
})

after(() => {
  server.closeAllConnections()
  server.close()
})

const answer =
  (status: number, body: unknown): Handler =>
  (_, response) => {
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
  }
const connect = (
  options: { url?: string; timeoutMs?: number; clock?: Clock; username?: string; password?: string } = {},
) => new SchemaRegistry({ url, timeoutMs: 5000, clock: systemClock, ...options })
const notFound = answer(404, { error_code: 40403, message: 'Schema 5 not found' })

/** Time that stands still, but for sleepers, who are noted. */
function stoppedClock() {
  const clock = {
    time: 0,
    slept: [] as number[],
    now: () => clock.time,
    wallTime: () => clock.time,
    after: () => ({ cancel() {} }),
    sleep: async (ms: number) => {
      clock.time += ms
      if (ms > 0) clock.slept.push(ms)
    },
  }
  return clock
}

describe('the latest schema of a subject', () => {
  test('is what the registry says, and undefined for a subject that it does not have', async () => {
    handle = answer(200, { subject: 'in-value', version: 3, id: 12, schema: '"int"' })
    assert.deepEqual(await connect().latest('in-value'), { id: 12, schema: '"int"' })
    handle = answer(404, { error_code: 40401, message: "Subject 'a/b-value' not found." })
    assert.equal(await connect().latest('a/b-value'), undefined)
    assert.deepEqual(requests, [
      'GET /apis/v7/subjects/in-value/versions/latest',
      'GET /apis/v7/subjects/a%2Fb-value/versions/latest',
    ])
  })

  test('is not known where the registry answers otherwise', async () => {
    handle = answer(404, 'a page of some proxy')
    const message = /did not give the schema of in-value, but answered 404: a page of some proxy/
    await assert.rejects(connect().latest('in-value'), { code: 'registry-unreachable', message })
    handle = answer(200, { id: 12, schema: '{}', schemaType: 'PROTOBUF' })
    await assert.rejects(connect().latest('in-value'), { code: 'unusable-schema', message: /12 is of type PROTOBUF/ })
  })
})

describe('finding a schema', () => {
  test('asks once, also when many ask at the same time', async () => {
    handle = answer(200, { schema: '"int"' })
    const registry = connect()
    assert.deepEqual(await Promise.all([registry.find(5), registry.find(5), registry.find(5)]), [
      '"int"',
      '"int"',
      '"int"',
    ])
    assert.equal(await registry.find(5), '"int"')
    assert.deepEqual(requests, ['GET /apis/v7/schemas/ids/5'])
  })

  test('an unknown id is unknown for a while, then asked about again', async () => {
    handle = notFound
    const clock = stoppedClock()
    const registry = connect({ clock })
    assert.equal(await registry.find(5), undefined)
    assert.equal(await registry.find(5), undefined)
    assert.equal(requests.length, 1)
    handle = answer(200, { schema: '"int"', schemaType: 'AVRO', references: [] })
    clock.time += 30_000
    assert.equal(await registry.find(5), '"int"')
  })

  test('a stream of garbage ids is slowed down', async () => {
    handle = notFound
    const clock = stoppedClock()
    const registry = connect({ clock })
    for (let id = 1; id <= 80; id++) assert.equal(await registry.find(id), undefined)
    assert.equal(requests.length, 80)
    // The first 51 pass at once, the others one in 100 ms.
    assert.deepEqual([clock.slept.length, clock.time], [29, 2900])
  })

  const unreachable: [string, Handler, RegExp][] = [
    ['500', answer(500, { error_code: 50001, message: 'the store is away' }), /answered 500: the store is away/],
    ['a 404 that is not the registry', answer(404, '<h1>no such page</h1>'), /answered 404: <h1>no such page/],
    [
      'a 404 of another kind',
      answer(404, { error_code: 404, message: 'HTTP 404 Not Found' }),
      /404: HTTP 404 Not Found/,
    ],
    ['refused credentials', answer(401, ''), /answered 401$/],
    ['garbage', answer(200, '<html>log in</html>'), /answered 200: <html>log in/],
    ['JSON without a schema', answer(200, [1]), /answered 200: \[1\]/],
    ['a lost connection', (_, response) => void response.destroy(), /cannot be asked: /],
  ]
  for (const [name, handler, message] of unreachable) {
    test(`${name}: registry-unreachable, and asked again the next time`, async () => {
      handle = handler
      const registry = connect()
      await assert.rejects(registry.find(5), { code: 'registry-unreachable', message })
      handle = answer(200, { schema: '"int"' })
      assert.equal(await registry.find(5), '"int"')
    })
  }

  test('no answer in time: registry-unreachable', async () => {
    handle = () => {}
    await assert.rejects(connect({ timeoutMs: 30 }).find(5), {
      code: 'registry-unreachable',
      message: /no answer within 30 ms/,
    })
  })

  test('no server: registry-unreachable, and the message names it without its password', async () => {
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    closed.close()
    await once(closed, 'close')
    const registry = connect({ url: `http://me:s3cret@127.0.0.1:${port}/api` })
    await assert.rejects(registry.find(5), (error: Error & { code: string }) => {
      assert.equal(error.code, 'registry-unreachable')
      assert.match(
        error.message,
        new RegExp(`the schema registry at http://127\\.0\\.0\\.1:${port}/api .*ECONNREFUSED`),
      )
      assert.doesNotMatch(`${error.stack} ${JSON.stringify(error)}`, /s3cret/)
      return true
    })
  })

  test('a schema that is no Avro, or not complete in itself: unusable-schema', async () => {
    handle = answer(200, { schema: 'syntax = "proto3";', schemaType: 'PROTOBUF' })
    await assert.rejects(connect().find(5), { code: 'unusable-schema', message: /schema 5 is of type PROTOBUF/ })
    handle = answer(200, { schema: '"Other"', references: [{ name: 'Other', subject: 'o', version: 1 }] })
    await assert.rejects(connect().find(5), { code: 'unusable-schema', message: /refers to other schemas/ })
  })

  test('says who it is, from the URL or the options', async () => {
    const seen: (string | undefined)[] = []
    handle = (request, response, body) => {
      seen.push(request.headers.authorization)
      answer(200, { schema: '"int"' })(request, response, body)
    }
    await connect({ url: url.replace('://', '://me:p%40ss@') }).find(1)
    await connect({ username: 'you', password: 'other' }).find(1)
    await connect().find(1)
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
    assert.deepEqual(seen, [basic('me:p@ss'), basic('you:other'), undefined])
  })
})

describe('registering a schema', () => {
  test('posts it under its subject', async () => {
    let posted: unknown
    handle = (request, response, body) => {
      posted = JSON.parse(body)
      answer(200, { id: 9 })(request, response, body)
    }
    assert.equal(await connect().register('a/b-value', '"int"'), 9)
    assert.deepEqual(requests, ['POST /apis/v7/subjects/a%2Fb-value/versions'])
    assert.deepEqual(posted, { schema: '"int"' })
  })

  for (const status of [403, 409, 422]) {
    test(`${status}: registry-refused, with what it says`, async () => {
      handle = answer(status, { error_code: status, message: 'incompatible with an earlier schema' })
      await assert.rejects(connect().register('t-value', '"int"'), {
        code: 'registry-refused',
        message: new RegExp(`did not register the schema of t-value, but answered ${status}: incompatible`),
      })
    })
  }

  for (const [status, body] of [
    [503, ''],
    [429, ''],
    [200, '{}'],
  ] as const) {
    test(`${status} ${body}: registry-unreachable`, async () => {
      handle = answer(status, body)
      await assert.rejects(connect().register('t-value', '"int"'), { code: 'registry-unreachable' })
    })
  }
})
