import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { Health } from '../../src/ops/health.ts'
import { type HttpServer, serveHttp } from '../../src/ops/http.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import type { StatusBody, WorkerStatus } from '../../src/ops/status.ts'
import { STATUS } from './sample-status.ts'

const metrics = new Metrics({ release: '9.9.9', process: false })
const health = new Health({ clock: systemClock, log: silentLog, onReady: ready => metrics.ready(ready) })
let status = (): WorkerStatus => STATUS
let server: HttpServer

const options = {
  host: '127.0.0.1',
  port: 0,
  release: '9.9.9',
  log: silentLog,
  health,
  metrics,
  status: () => status(),
}

before(async () => {
  metrics.partition({ topic: 'iris-features', partition: 0, model: 'iris', version: '3' }).recordsIn(1841)
  health.enter('RUNNING')
  server = await serveHttp(options)
})
after(() => server.close())

const get = (path: string, init?: RequestInit) => fetch(server.url + path, init)

describe('HTTP', () => {
  test('a port is picked for port 0', () => {
    assert.ok(server.port > 0)
    assert.equal(server.url, `http://127.0.0.1:${server.port}`)
  })

  test('health: 200 when well; 503 with reasons when not ready, and still alive', async () => {
    assert.equal((await get('/health/ready')).status, 200)
    const error = new SluiceError('registry-unreachable', 'the registry at r:8081 does not answer')
    health.set('registry', error)
    const ready = await get('/health/ready')
    const live = await get('/health/live')
    health.clear('registry')
    assert.equal(ready.status, 503)
    const { since, ...reason } = ((await ready.json()) as { reasons: Record<string, string>[] }).reasons[0]!
    assert.deepEqual(reason, { code: error.code, message: error.message, remedy: error.remedy })
    assert.ok(Math.abs(Date.parse(since!) - Date.now()) < 60_000)
    assert.equal(live.status, 200)
    assert.equal((await get('/health/ready')).status, 200)
  })

  test('metrics in the format of Prometheus', async () => {
    const response = await get('/metrics')
    assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
    const body = await response.text()
    assert.match(body, /^sluice_ready 1$/m)
    assert.match(body, /^sluice_records_in_total\{topic="iris-features",partition="0"\} 1841$/m)
  })

  test('status: what the worker says, its health and its totals', async () => {
    const { uptime, ...body } = (await (await get('/status')).json()) as StatusBody
    assert.ok(uptime >= 0)
    assert.deepEqual(body, {
      ...STATUS,
      release: '9.9.9',
      health: { ok: true, state: 'RUNNING', reasons: [], notices: [] },
    })
  })

  test('what is not there is 404 as JSON, without the query', async () => {
    for (const [path, method] of [
      ['/nothing?x=1', 'GET'],
      ['/status', 'POST'],
    ] as const) {
      const response = await get(path, { method })
      assert.equal(response.status, 404)
      assert.deepEqual(await response.json(), { error: `nothing is served at ${method} ${path.split('?')[0]}` })
    }
  })

  test('a failure inside is 500, and tells nothing of the inside', async () => {
    status = () => {
      throw new Error('secret detail')
    }
    const response = await get('/status')
    status = () => STATUS
    assert.equal(response.status, 500)
    assert.doesNotMatch(await response.text(), /secret detail/)
  })

  test('every answer carries the security headers; the page allows its own script and style, and no others', async () => {
    for (const path of ['/', '/status', '/metrics', '/health/live', '/none']) {
      const { headers } = await get(path)
      assert.match(headers.get('content-security-policy')!, /default-src 'none'.*frame-ancestors 'none'/)
      assert.equal(headers.get('x-content-type-options'), 'nosniff')
      assert.equal(headers.get('cache-control'), 'no-store')
      assert.equal(headers.get('referrer-policy'), 'no-referrer')
    }
    const page = await get('/')
    const html = await page.text()
    const policy = page.headers.get('content-security-policy')!
    assert.doesNotMatch(policy, /unsafe/)
    for (const tag of ['script', 'style']) {
      const content = html.slice(html.indexOf(`<${tag}>`) + tag.length + 2, html.indexOf(`</${tag}>`))
      assert.ok(policy.includes(`${tag}-src 'sha256-${createHash('sha256').update(content).digest('base64')}'`), tag)
    }
    assert.doesNotMatch(html, /(?:src|href|url\()\s*=?\s*["']?https?:/)
  })

  test('a port in use, and an address that is not ours, are named', async () => {
    const taken = createServer()
    await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as { port: number }
    const refused = (pattern: RegExp) => (error: unknown) =>
      error instanceof SluiceError && error.code === 'invalid-config' && pattern.test(error.message)
    await assert.rejects(
      serveHttp({ ...options, port }),
      refused(new RegExp(`^HTTP_PORT ${port} is in use on 127.0.0.1`)),
    )
    taken.close()
    await assert.rejects(serveHttp({ ...options, host: '192.0.2.1' }), refused(/HTTP_HOST 192\.0\.2\.1/))
  })

  test('closing ends connections that are kept alive', async () => {
    const other = await serveHttp(options)
    await (await fetch(`${other.url}/status`)).text()
    await other.close()
    await assert.rejects(fetch(`${other.url}/status`))
  })
})
