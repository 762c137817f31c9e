import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { labelOf, parseSessions, threadsPerSession } from '../../src/inference/placement.ts'

/** Placements in the notation of SESSIONS, one for each session. */
const written = (text: string) => parseSessions(text).map(placement => placement.map(labelOf).join('|'))

describe('SESSIONS', () => {
  for (const [text, expected] of [
    ['cpu', ['cpu']],
    ['cpu*2', ['cpu', 'cpu']],
    ['cuda:0*2,cuda:1*2', ['cuda:0', 'cuda:0', 'cuda:1', 'cuda:1']],
    ['tensorrt:0,cpu', ['tensorrt:0', 'cpu']],
    ['cuda:1|cpu*2', ['cuda:1|cpu', 'cuda:1|cpu']],
    [' cuda , cpu * 1 ', ['cuda:0', 'cpu']],
    ['coreml|cpu', ['coreml|cpu']],
  ] as const) {
    it(`"${text}" makes ${expected.join(' and ')}`, () => assert.deepEqual(written(text), expected))
  }

  for (const [text, problem] of [
    ['', 'a part of the list is empty'],
    ['cpu,,cpu', 'a part of the list is empty'],
    ['gpu', '"gpu" is no execution provider; there are cpu, cuda, tensorrt, dml, coreml, webgpu'],
    ['CPU', '"CPU" is no execution provider'],
    ['cuda:0|', '"" is no execution provider'],
    ['cpu*0', 'the count in "cpu*0" is "0", which is no whole number from 1 to 64'],
    ['cpu*two', 'the count in "cpu*two" is "two"'],
    ['cpu*', 'the count in "cpu*" is ""'],
    ['cpu*2*2', '"cpu*2*2" has more than one "*"'],
    ['cpu:0', '"cpu:0" names a device, and cpu has none'],
    ['cuda:a', 'the device in "cuda:a" is no number'],
    ['cuda:-1', 'the device in "cuda:-1" is no number'],
    ['cuda:0:1', 'the device in "cuda:0:1" is no number'],
    ['cpu*65', 'that makes 65 sessions, and at most 64 are allowed'],
    ['constructor', '"constructor" is no execution provider'],
  ] as const) {
    it(`"${text}" is refused with the grammar`, () => {
      assert.throws(
        () => parseSessions(text),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'invalid-config')
          assert.ok(error.message.startsWith(`SESSIONS is "${text}": ${problem}`), error.message)
          assert.match(error.message, /expected a comma-separated list of PROVIDER\[:DEVICE\].*cpu\*2/)
          return true
        },
      )
    })
  }
})

describe('threads of a session', () => {
  for (const [sessions, configured, cores, expected] of [
    ['cpu', 0, 8, 8],
    ['cpu*3', 0, 8, 2],
    ['cpu*4', 0, 2, 1],
    ['cuda:0*2,cpu*2', 0, 8, 4],
    ['cuda:0|cpu*4', 0, 8, 2],
    ['cuda:0*4', 0, 8, 2],
    ['cpu*4', 3, 2, 3],
  ] as const) {
    it(`are ${expected} for ${sessions} on ${cores} cores, with ${configured} configured`, () => {
      assert.equal(threadsPerSession(configured, parseSessions(sessions), cores), expected)
    })
  }
})
