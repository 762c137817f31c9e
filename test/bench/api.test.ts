import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { ratioAtEqualP99, throughputAt } from '../../bench/api/at-equal-p99.ts'
import { load } from '../../bench/api/load.ts'

const at = (perSecond: number, p99Ms: number) => ({ connections: 1, perSecond, p50Ms: p99Ms / 2, p99Ms })

test("at equal p99: the bound is the peer's p99 where it is best, and ours must hold it", () => {
  const peer = [at(1_000, 1), at(3_000, 5), at(2_500, 20)]
  assert.deepEqual(ratioAtEqualP99([at(4_000, 1), at(9_000, 4.9), at(20_000, 5.1)], peer), {
    p99Ms: 5,
    peer: 3_000,
    ours: 9_000,
    ratio: 3,
  })
  assert.equal(ratioAtEqualP99([at(9_000, 6)], peer).ratio, 0)
  assert.equal(throughputAt([at(9_000, 6)], 5), undefined)
})

test('the generator counts what is answered, and takes nothing but 200', async t => {
  let status = 200
  let asked = 0
  const server = createServer((request, response) => {
    asked++
    request.resume().on('end', () => response.writeHead(status).end('{}'))
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise(resolve => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const request = { path: '/x', body: Buffer.from('{}'), headers: {} }
  const { perSecond, p50Ms, p99Ms } = await load(url, request, 3, 200)
  const answered = Math.round(perSecond * 0.2)
  assert.ok(answered > 0 && answered <= asked && answered >= asked - 3, `${answered} of ${asked}`)
  assert.ok(p50Ms > 0 && p50Ms <= p99Ms)
  status = 503
  await assert.rejects(load(url, request, 1, 200), /\/x was answered with 503/)
})
