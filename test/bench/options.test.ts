import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const RUN = fileURLToPath(new URL('../../bench/run.ts', import.meta.url))

function bench(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [RUN, ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

test('help has an example, and starts nothing', () => {
  const { status, stdout } = bench('--help')
  assert.equal(status, 0)
  assert.match(stdout, /Example: npm run bench -- --workload iris/)
})

test('what there is not is refused in one line that says what there is', () => {
  const wrong: [string[], RegExp][] = [
    [['--workload', 'flowers'], /^--workload is "flowers", but must be of iris, [^\n]*\n$/],
    [['--runs', '0'], /^--runs is "0", but must be a whole number from 1[^\n]*\n$/],
    [['--seconds', 'ten'], /^--seconds is "ten"[^\n]*\n$/],
    [['--rates', '100,fast'], /^--rates is "fast"[^\n]*\n$/],
    [['--fast'], /^Unknown option '--fast'[^\n]*\n$/],
  ]
  for (const [args, line] of wrong) {
    const { status, stderr, stdout } = bench(...args)
    assert.equal(status, 2, args.join(' '))
    assert.match(stderr, line)
    assert.equal(stdout, '')
  }
})
