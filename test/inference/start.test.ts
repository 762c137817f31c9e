import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Fixture, fixture, openPool, recordingLog, rowSums } from './fixtures.ts'

describe('a pool does not open', () => {
  const refuses = async (model: Fixture, code: string, message: RegExp, sessions = 'cpu*2') => {
    await assert.rejects(openPool(model, sessions), (error: Error & { code?: string }) => {
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
      return true
    })
  }

  it('with an operator that the runtime does not know', async () => {
    const model = fixture('unknown-operator', { x: ['float32', [4]] }, { y: ['float32', [4]] })
    await refuses(model, 'session-failed', /could not open .*unknown-operator\.onnx: cpu: .*Frobnicate/s)
  })

  it('with a file that was cut', async () => {
    const model = fixture('truncated', { x: ['float32', [4]] }, { y: ['float32', [4]] })
    await refuses(
      model,
      'model-corrupt',
      /truncated\.onnx cannot be used: it is no ONNX model, or only a part of one: at byte/,
    )
  })

  it('with a file that is not there', async () => {
    const { spec } = rowSums()
    await refuses(
      { spec, modelFile: '/nowhere/model.onnx' },
      'model-corrupt',
      /^\/nowhere\/model\.onnx cannot be used: ENOENT/,
    )
  })

  it('with other bytes than model.json vouches for', async () => {
    const { spec, modelFile } = rowSums()
    const model = { modelFile, spec: { ...spec, sha256: '0'.repeat(64) } }
    await refuses(
      model,
      'model-corrupt',
      new RegExp(`row-sums.onnx cannot be used: its SHA-256 is ${spec.sha256}, expected 0{64}`),
    )
  })

  it('with tensors that are not those of the graph', async () => {
    const model = fixture('row-sums', { x: ['float32', [5]] }, { sum: ['float32', [1]] })
    await refuses(model, 'model-signature', /input "x" has the shape \[\?,5\] in model\.json and \[\?,4\] in the graph/)
  })

  it('when model.json names an output that is no tensor', async () => {
    const model = fixture('sequence', { x: ['float32', [2]] }, { maps: ['float32', [2]] })
    await refuses(model, 'model-signature', /output "maps" is no tensor in the graph/)
  })

  it('when a thread ends before the model is open', async () => {
    const stillborn = new URL(`data:text/javascript,${encodeURIComponent('process.exit(9)')}`)
    await assert.rejects(openPool(rowSums(), 'cpu', { threadUrl: stillborn }), {
      code: 'session-failed',
      message: /row-sums\.onnx: its thread ended with exit code 9$/,
    })
  })
})

describe('a session with alternatives', () => {
  it('takes the first that is there, and warns about the others', async t => {
    const foreign = process.platform === 'win32' ? 'coreml' : 'dml'
    const { log, lines } = recordingLog()
    const pool = await openPool(rowSums(), `${foreign}|cpu`, { log })
    t.after(() => pool.close())
    assert.deepEqual(pool.providers, ['cpu'])
    assert.match(lines[0]!, /^warn .*left out.*(dml:0|coreml)/)
  })
})
