import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const training = fileURLToPath(new URL('../../training', import.meta.url))
const python = (...args: string[]) => spawnSync('python3', args, { cwd: training, encoding: 'utf8' })
const found = python('-c', 'import sys, venv; sys.exit(sys.version_info < (3, 8))').status === 0

// Whole conversions install packages and take minutes: training/test_convert.py.
test('training/convert.py refuses what it should before it installs or opens anything', {
  skip: found ? false : 'needs python3, 3.8 or newer, with venv',
}, () => {
  const { status, stderr } = python('-W', 'error::SyntaxWarning', '-B', 'test_model_zip.py')
  assert.equal(status, 0, stderr)
  assert.match(stderr, /Ran 14 tests/)
})
