import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { temporaryFolder } from '../faults/support.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { copyVersions } from '../support/models.ts'
import { runSluice } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { irisWorkload } from '../support/workload.ts'

const MODEL = 'iris-classifier'
const ROW = JSON.stringify({
  inputs: [{ name: 'float_input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }],
})

suite('requests over HTTP, answered by a worker', { concurrency: 2, timeout: 120_000 }, () => {
  for (const threads of ['1', '2']) {
    test(`beside the stream, by the live version, before and after a change; ${threads} I/O threads`, async t => {
      const store = temporaryFolder(t, 'store')
      copyVersions(store, MODEL, ['1', '2'])
      const env = {
        MODEL_STORE: store,
        MODEL_NAME: MODEL,
        MODEL_VERSION: '',
        IO_THREADS: threads,
        MAX_BATCH_SIZE: '64',
      }
      const bed = await Testbed.create('api', { partitions: 2, env })
      t.after(() => bed.close())
      const change = async (...args: readonly string[]) => {
        const { code, stdout, stderr } = await runSluice(['model', ...args, '--timeout', '30'], { env: bed.env })
        assert.equal(code, 0, stdout + stderr)
      }
      const worker = await bed.startWorker().ready()
      await change('promote', MODEL, '1')
      const url = await worker.url(`/v2/models/${MODEL}`)
      const ask = async (path = ''): Promise<string> => {
        const response = await fetch(`${url}${path}/infer`, { method: 'POST', body: ROW })
        const body = (await response.json()) as { model_version?: string; error?: string }
        assert.equal(response.status, 200, body.error)
        return body.model_version!
      }
      assert.equal(await ask(), '1')
      let asking = true
      const answered: string[] = []
      const askers = Array.from({ length: 4 }, async () => {
        while (asking) answered.push(await ask())
      })
      const { messages, poisoned } = irisWorkload(4_000, { partitions: 2 })
      await bed.produce(messages, async sent => {
        if (sent === 1_000) await change('canary', MODEL, '2', '--percent', '30')
        if (sent === 2_000)
          assert.deepEqual([await ask('/versions/1'), await ask('/versions/2'), await ask()], ['1', '2', '1'])
        if (sent === 3_000) {
          await change('promote', MODEL, '2')
          assert.equal(await ask(), '2', 'what is live when the command is done answers')
        }
      })
      await bed.caughtUp()
      asking = false
      await Promise.all(askers)
      const first = answered.indexOf('2')
      assert.ok(first > 0, `${answered.length} answers, the first of the new version was ${first}`)
      const outcome = await bed.outcome()
      assertExactlyOnce(await bed.audit(outcome))
      assert.equal(outcome.predictions.length, messages.length - poisoned)
      assert.equal(await worker.metric('sluice_api_requests_total', { outcome: 'ok' }), answered.length + 5)
      assert.equal(await worker.stop(), 0)
    })
  }

  test('HTTP_API=false: there is none', async t => {
    const bed = await Testbed.create('no-api', { env: { MODEL_NAME: MODEL, HTTP_API: 'false' } })
    t.after(() => bed.close())
    const worker = await bed.startWorker().ready()
    assert.equal((await fetch(await worker.url('/v2'))).status, 404)
    assert.equal(await worker.stop(), 0)
  })
})
