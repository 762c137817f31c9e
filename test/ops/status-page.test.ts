import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { Health } from '../../src/ops/health.ts'
import { type HttpServer, serveHttp } from '../../src/ops/http.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { type Browser, noBrowser, startBrowser } from './browser.ts'
import { STATUS } from './sample-status.ts'

/** Resolves with all of the page once `condition` holds in it. */
const pageWhen = (condition: string) => `new Promise(resolve => {
  const look = () => (${condition}) ? resolve(document.documentElement.outerHTML) : setTimeout(look, 20)
  look()
})`
const stateIs = (text: string) => `document.getElementById('state').textContent === '${text}'`

describe('the status page in a browser', { skip: noBrowser, timeout: 60_000 }, () => {
  const metrics = new Metrics({ release: '9.9.9', process: false })
  const health = new Health({ clock: systemClock, log: silentLog })
  const partition = metrics.partition({ topic: 'iris-features', partition: 0, model: 'iris', version: '3' })
  let outputTopic = STATUS.outputTopic
  let server: HttpServer
  let browser: Browser

  before(async () => {
    partition.recordsIn(1841)
    health.enter('RUNNING')
    const status = () => ({ ...STATUS, outputTopic, totals: metrics.totals })
    server = await serveHttp({ host: '127.0.0.1', port: 0, release: '9.9.9', log: silentLog, health, metrics, status })
    browser = await startBrowser()
  })
  after(async () => {
    await browser?.close()
    await server?.close()
  })

  test('shows the worker under its own security policy, and names as text', async () => {
    outputTopic = '<img src=x onerror=alert(1)>'
    const page = await browser.open(server.url)
    const dom = String(await page.evaluate(pageWhen(stateIs('ready'))))
    outputTopic = STATUS.outputTopic
    assert.deepEqual(page.complaints, [])
    assert.match(dom, /id="state"[^>]*class="ready"/)
    assert.match(dom, /iris · version 3 · canary 4, 10 % · shadow 5/)
    assert.match(dom, /<dt>Records in<\/dt><dd>1,841<\/dd>/)
    assert.match(
      dom,
      /<td>iris-features\/0<\/td><td>RUNNING<\/td><td>3 since 1,024<\/td><td>1,900<\/td><td>1,841<\/td><td>12<\/td>/,
    )
    assert.match(dom, /<td>iris-features\/1<\/td><td>INITIALISING<\/td><td>–<\/td><td>–<\/td>.*<td>paused<\/td>/)
    assert.match(dom, /→ &lt;img src=x/)
    assert.equal(await page.evaluate("getComputedStyle(document.getElementById('tiles')).display"), 'grid')
  })

  test('follows the worker: counts, why it is not ready, and that it is gone', async () => {
    const page = await browser.open(server.url)
    await page.evaluate(pageWhen(stateIs('ready')))
    partition.recordsIn(159)
    const error = new SluiceError('topic-missing', 'topic iris-predictions does not exist')
    health.set('topics', error)
    const dom = String(await page.evaluate(pageWhen(stateIs('not ready'))))
    assert.match(dom, /<dd>2,000<\/dd>/)
    assert.ok(dom.includes(`<code>topic-missing</code>: ${error.message}`), dom)
    assert.ok(dom.includes(error.remedy))
    health.clear('topics')
    assert.doesNotMatch(String(await page.evaluate(pageWhen(stateIs('ready')))), /topic-missing/)
    await server.close()
    await page.evaluate(pageWhen(stateIs('no answer')))
  })
})
