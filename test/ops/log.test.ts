import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { createLog } from '../../src/ops/log.ts'

function collector(isTTY = false) {
  let text = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  return {
    destination: Object.assign(stream, { isTTY }),
    text: () => text,
    lines: () =>
      text
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as Record<string, unknown>),
  }
}

const ours = () =>
  new SluiceError('broker-unreachable', 'no broker answers at a:1', { cause: new Error('ECONNREFUSED') })

describe('createLog', () => {
  test('writes one JSON object a line: level, ISO time, name, fields, message', () => {
    const out = collector()
    const log = createLog({ level: 'info', format: 'json', name: 'worker', destination: out.destination })
    log.debug({}, 'too quiet')
    log.child({ partition: 2 }).info({ offset: 7 }, 'assigned')
    const [line, ...others] = out.lines()
    assert.deepEqual(others, [])
    assert.equal(line!.level, 'info')
    assert.match(String(line!.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual([line!.name, line!.partition, line!.offset, line!.msg], ['worker', 2, 7, 'assigned'])
  })

  test('our errors: code and remedy as fields, no stack below error', () => {
    const out = collector()
    const log = createLog({ level: 'debug', format: 'json', name: 'w', destination: out.destination })
    const error = ours()
    log.warn({ error, attempt: 3 }, 'waiting')
    log.error({ error }, 'giving up')
    const [warned, failed] = out.lines()
    assert.deepEqual([warned!.code, warned!.remedy, warned!.attempt], [error.code, error.remedy, 3])
    assert.deepEqual(warned!.error, { type: 'SluiceError', message: error.message, cause: 'ECONNREFUSED' })
    assert.match((failed!.error as { stack: string }).stack, /log\.test\.ts/)
  })

  test('errors of others keep their stack; what is no error keeps its text', () => {
    const out = collector()
    const log = createLog({ level: 'debug', format: 'json', name: 'w', destination: out.destination })
    log.info({ error: new TypeError('odd') }, 'met')
    log.child({ partition: 1 }).info({ error: 'a text' }, 'met')
    const [first, second] = out.lines()
    assert.match((first!.error as { stack: string }).stack, /TypeError: odd\n/)
    assert.equal('code' in first!, false)
    assert.deepEqual(second!.error, { type: 'string', message: 'a text' })
  })

  test('auto is pretty on a terminal and JSON elsewhere; pretty can be had anywhere', () => {
    const written = (format: 'auto' | 'pretty', isTTY: boolean) => {
      const out = collector(isTTY)
      createLog({ level: 'info', format, name: 'w', destination: out.destination }).warn({ error: ours() }, 'hello')
      return out.text()
    }
    assert.equal(JSON.parse(written('auto', false)).msg, 'hello')
    assert.match(written('auto', true), /\d\d:\d\d:\d\d\.\d{3}.*WARN.*hello/)
    assert.match(written('pretty', false), /^\[\d\d:\d\d:\d\d\.\d{3}\] WARN: hello\n[\s\S]*code: "broker-unreachable"/)
  })

  test('silent is silent', () => {
    const out = collector()
    createLog({ level: 'silent', format: 'json', name: 'w', destination: out.destination }).error({}, 'no')
    assert.equal(out.text(), '')
  })
})
