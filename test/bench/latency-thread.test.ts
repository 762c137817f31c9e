import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Thread } from '../../bench/latency/thread.ts'
import type { DoubleMethods } from './latency-thread-double.ts'

async function start(t: TestContext): Promise<Thread<DoubleMethods>> {
  const thread = await Thread.start<DoubleMethods>(new URL('latency-thread-double.ts', import.meta.url), 'double')
  t.after(() => thread.close())
  return thread
}

describe('a thread', () => {
  it('does not start from a module that fails', async () => {
    const missing = new URL('no-such-thread.ts', import.meta.url)
    await assert.rejects(Thread.start(missing, 'missing'), /no-such-thread/)
  })

  it('answers calls, several at a time, each with its own result', async t => {
    const thread = await start(t)
    const slow = thread.call('after', { ms: 50, answer: 'slow' })
    const fast = thread.call('after', { ms: 1, answer: 'fast' })
    assert.equal(await Promise.race([slow, fast]), 'fast')
    assert.equal(await slow, 'slow')
    assert.deepEqual(await thread.call('double', Float64Array.of(1, 2)), Float64Array.of(2, 4))
  })

  it('shares shared memory', async t => {
    const memory = new Float64Array(new SharedArrayBuffer(16))
    const thread = await start(t)
    await thread.call('fill', memory)
    assert.deepEqual([...memory], [7, 7])
  })

  it('hands on what a method throws, and goes on', async t => {
    const thread = await start(t)
    await assert.rejects(thread.call('fail'), /as told/)
    assert.deepEqual(await thread.call('double', Float64Array.of(1)), Float64Array.of(2))
  })

  it('fails all calls with what ended it, also later ones', async t => {
    const thread = await start(t)
    const hanging = assert.rejects(thread.call('hang'), /out of the blue/)
    await assert.rejects(thread.call('crash'), /out of the blue/)
    await hanging
    await assert.rejects(thread.call('hang'), /out of the blue/)
  })

  it('fails what is under way when it is closed', async t => {
    const thread = await start(t)
    const hanging = assert.rejects(thread.call('hang'), /The double has ended/)
    await thread.close()
    await hanging
  })

  it('says how much processor time it has used, and only its own', async t => {
    const [busy, idle] = [await start(t), await start(t)]
    const before = await idle.processorSeconds()
    const begun = await busy.processorSeconds()
    await busy.call('burn', 0.1)
    const used = (await busy.processorSeconds()) - begun
    assert.ok(used >= 0.1, `${used} s`)
    assert.ok((await idle.processorSeconds()) - before < 0.05)
  })
})
