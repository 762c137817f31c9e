import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import { FileWindows } from '../../src/files/file-window.ts'

const MIB = 1 << 20

function file(t: TestContext, bytes: Buffer): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-window-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'file')
  writeFileSync(path, bytes)
  return path
}

/** Bytes that tell where they are. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at)
  return bytes
}

for (const length of [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 13 * MIB + 5]) {
  for (const left of [0, 7, MIB, MIB + 3, 5 * MIB]) {
    it(`${length} bytes, of each window ${left} kept: every byte once, in order`, async t => {
      const bytes = pattern(length)
      const windows = await FileWindows.open(file(t, bytes))
      let at = 0
      for (;;) {
        const window = await windows.next()
        assert.ok(bytes.subarray(at, at + window.bytes.length).equals(window.bytes), `from byte ${at}`)
        if (window.last) {
          assert.equal(at + window.bytes.length, length)
          assert.equal(windows.position, length)
          break
        }
        const kept = Math.min(left, window.bytes.length)
        at += window.bytes.length - kept
        windows.keep(window.bytes.subarray(window.bytes.length - kept))
        window.release()
      }
      await windows.close()
    })
  }
}

it('brings at least what is asked for, or the rest', async t => {
  const bytes = pattern(30 * MIB)
  const windows = await FileWindows.open(file(t, bytes))
  const first = await windows.next()
  windows.keep(first.bytes.subarray(-9))
  const from = first.bytes.length - 9
  const second = await windows.next(10 * MIB)
  assert.ok(second.bytes.length >= 10 * MIB + 9)
  assert.ok(bytes.subarray(from, from + second.bytes.length).equals(second.bytes))
  assert.equal(second.last, false)
  windows.keep(second.bytes.subarray(-1))
  const third = await windows.next(100 * MIB)
  assert.equal(third.last, true)
  assert.ok(bytes.subarray(from + second.bytes.length - 1).equals(third.bytes))
  await windows.close()
})

it('takes the memory of windows again that were put together', async t => {
  const windows = await FileWindows.open(file(t, Buffer.alloc(160 * MIB)))
  const buffers = new Set<ArrayBufferLike>()
  for (let last = false; !last; ) {
    const gathered = await windows.next(10 * MIB)
    gathered.release()
    const window = await windows.next()
    buffers.add(window.bytes.buffer)
    last = gathered.last || window.last
    window.release()
  }
  assert.ok(buffers.size <= 8, `${buffers.size} buffers`)
  await windows.close()
})
