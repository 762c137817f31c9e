import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { labelOf, parseSessions } from '../../src/inference/placement.ts'
import { availableProviders, sessionOptions, usablePlacements } from '../../src/inference/providers.ts'
import { openPool, rowSums } from './fixtures.ts'

describe('execution providers', () => {
  it('include the CPU everywhere, and no library that is not there', () => {
    const available = availableProviders()
    assert.ok(available.includes('cpu'))
    assert.ok(!available.includes(process.platform === 'win32' ? 'coreml' : 'dml'))
  })

  it('that are not installed are left out of the alternatives', () => {
    const { usable, leftOut } = usablePlacements(parseSessions('tensorrt:1|cuda:1|cpu,cpu'), ['cpu', 'cuda'])
    assert.deepEqual(
      usable.map(placement => placement.map(labelOf)),
      [['cuda:1', 'cpu'], ['cpu']],
    )
    assert.deepEqual(leftOut, ['tensorrt:1'])
  })

  it('that leave a session nowhere to run are an error that lists what there is', () => {
    assert.throws(() => usablePlacements(parseSessions('cpu,tensorrt:0|cuda:0'), ['cpu', 'webgpu']), {
      code: 'provider-unavailable',
      message: /SESSIONS asks for tensorrt:0\|cuda:0, and this ONNX Runtime \(.*\) has cpu, webgpu$/,
    })
  })

  it('are asked for before any thread starts', async () => {
    const foreign = process.platform === 'win32' ? 'coreml' : 'dml'
    await assert.rejects(openPool(rowSums(), foreign), { code: 'provider-unavailable' })
  })

  it('get their device, and TensorRT has CUDA of the same device behind it', () => {
    const of = (text: string) => sessionOptions(parseSessions(text)[0]![0]!, 1).executionProviders
    assert.deepEqual(of('cpu'), ['cpu'])
    assert.deepEqual(of('cuda:2'), [{ name: 'cuda', deviceId: 2 }])
    assert.deepEqual(of('tensorrt:1'), [
      { name: 'tensorrt', deviceId: 1 },
      { name: 'cuda', deviceId: 1 },
    ])
  })
})
