import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const DEMO = fileURLToPath(new URL('../../dev/demo.ts', import.meta.url))

/** Runs the demo to its end, against the broker of KAFKA_BROKERS. */
async function runDemo(...args: readonly string[]) {
  const child = spawn(process.execPath, [DEMO, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { code: code as number, stdout, stderr }
}

describe('the demo', { timeout: 120_000 }, () => {
  it('answers every record exactly once while a replica is killed', async t => {
    const { code, stdout, stderr } = await runDemo('--records', '2000', '--seed', '7', '--json')
    if (code !== 0) t.diagnostic(stderr)
    assert.equal(code, 0)
    const { pauseMs, busiestSecond, latencyMs, durationMs, ...rest } = JSON.parse(stdout)
    assert.deepEqual(rest, {
      recordsIn: 2000,
      predictions: 1990,
      deadLetters: {
        'feature-not-finite': 1,
        'null-value': 2,
        'trailing-bytes': 1,
        'truncated-message': 2,
        'unknown-schema-id': 2,
        'wrong-magic-byte': 2,
      },
      lost: 0,
      doubled: 0,
      misordered: 0,
      wrong: 0,
      unexpected: 0,
      examples: [],
      passed: true,
      seed: 7,
      replicas: ['A', 'B'],
      exits: { A: 'exit code 0' },
    })
    // The dead one's session has to time out first, after at least 2 s, counted from its last heartbeat.
    assert.ok(pauseMs > 500 && pauseMs < durationMs, `paused for ${pauseMs} ms of ${durationMs}`)
    assert.ok(busiestSecond > 0 && busiestSecond <= 2000)
    assert.ok(latencyMs.p50 >= 0 && latencyMs.p50 <= latencyMs.p99 && latencyMs.p99 < durationMs)
    assert.match(stderr, /Replica B was killed[\s\S]*Replica A took\s+over partitions?[\s\S]*2,000 answers, although/)
    assert.deepEqual(
      stderr.split('\n').filter(line => line.length > 80),
      [],
    )
  })

  it('tells wrong usage from failure', async () => {
    const { code, stdout, stderr } = await runDemo('--records', 'many')
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' })
    assert.match(stderr, /^--records is "many", but must be a whole number from 100 to 1000000\.\n/)
  })

  it('says what it cannot reach', async () => {
    const unreachable = { ...process.env, KAFKA_BROKERS: '127.0.0.1:1' }
    const child = spawn(process.execPath, [DEMO], { env: unreachable, stdio: ['ignore', 'ignore', 'pipe'] })
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    assert.equal(code, 1)
    assert.match(stderr, /KAFKA_BROKERS is 127\.0\.0\.1:1, and no broker answers there \(.+\)\. Start that broker/)
  })
})
