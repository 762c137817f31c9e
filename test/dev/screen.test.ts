import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { wrap } from '../../dev/demo/pages.ts'
import { progressLine, Screen } from '../../dev/demo/screen.ts'

/** A stream that keeps what is written to it. */
function stream(isTTY: boolean) {
  const kept = Object.assign(new PassThrough(), { isTTY, getColorDepth: () => 8, hasColors: () => true })
  return { stream: kept as unknown as NodeJS.WriteStream, text: () => String(kept.read() ?? '') }
}

describe('the screen', () => {
  it('draws progress below the lines of a terminal', () => {
    const { stream: terminal, text } = stream(true)
    const screen = new Screen(terminal)
    screen.beginProgress(() => ({ done: 1, total: 2, note: 'answered' }))
    screen.line('hello')
    screen.endProgress()
    const bar = progressLine({ done: 1, total: 2, note: 'answered' })
    const clear = '\r\x1b[K'
    assert.equal(text(), `${clear}${bar}${clear}hello\n${clear}${bar}${clear}${bar}\n`)
  })

  it('writes nothing but lines elsewhere, without colours', () => {
    const { stream: file, text } = stream(false)
    const screen = new Screen(file)
    screen.beginProgress(() => ({ done: 1_500, total: 20_000, note: 'answered' }))
    screen.line(screen.style('red', 'hello'))
    screen.endProgress()
    assert.equal(text(), 'hello\n  █░░░░░░░░░░░░░░░░░░░░░░░░░   7 %   1,500 of 20,000 answered\n')
  })

  it('keeps progress within 80 columns', () => {
    const line = progressLine({ done: 1_000_000, total: 1_000_000, note: 'answered, B is dead' })
    assert.ok(line.length <= 80, `${line.length} columns`)
  })
})

describe('wrapping', () => {
  it('breaks at spaces, keeps what must stay together, and never drops a long word', () => {
    assert.deepEqual(wrap('one two 2.3\u00a0s three', 9), ['one two', '2.3\u00a0s', 'three'])
    assert.deepEqual(wrap('a incomprehensible b', 5), ['a', 'incomprehensible', 'b'])
  })
})
