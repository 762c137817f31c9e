import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readRows, temporaryFolder } from '../scoring/support.ts'
import { MODEL_STORE } from '../support/models.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const EXAMPLE = join(ROOT, 'examples/luigi')
const VENV = join(ROOT, '.cache/luigi')
const PYTHON = join(VENV, 'bin/python')

/** Makes the environment of the example once. Returns why it cannot be had, undefined when it is there. */
function prepare(): string | undefined {
  const requirements = readFileSync(join(EXAMPLE, 'requirements.txt'), 'utf8')
  const made = join(VENV, 'requirements.txt')
  if (existsSync(made) && readFileSync(made, 'utf8') === requirements) return undefined
  const draft = `${VENV}-${process.pid}`
  mkdirSync(dirname(draft), { recursive: true })
  try {
    const steps = [
      ['python3', '-m', 'venv', '--copies', draft],
      [join(draft, 'bin/python'), '-m', 'pip', 'install', '--quiet', '-r', join(EXAMPLE, 'requirements.txt')],
    ]
    for (const [file, ...args] of steps) {
      const { status, error, stderr } = spawnSync(file!, args, { encoding: 'utf8' })
      if (status !== 0)
        return `${file} ${args.slice(0, 2).join(' ')}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`
    }
    writeFileSync(join(draft, 'requirements.txt'), requirements)
    rmSync(VENV, { recursive: true, force: true })
    renameSync(draft, VENV)
    return undefined
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

const missing = prepare()

it('a luigi task is done when its file is scored, and fails without one when rows are bad', {
  skip: missing ?? false,
}, async t => {
  const folder = temporaryFolder(t)
  const [source, target] = [join(folder, 'flowers.csv'), join(folder, 'predictions.parquet')]
  const header = 'sepal_length,sepal_width,petal_length,petal_width'
  writeFileSync(source, `${header}\n5.1,3.5,1.4,0.2\n6.3,x,6,2.5\n`)
  const run = (...more: string[]) => {
    const task = ['ScoreFile', '--local-scheduler', '--no-lock', '--source', source, '--target', target]
    const sluice = `'${process.execPath}' '${join(ROOT, 'src/cli.ts')}'`
    const env = { ...process.env, SLUICE: sluice, MODEL_STORE }
    const args = [join(EXAMPLE, 'score.py'), ...task, '--model', 'iris-classifier', ...more]
    return spawnSync(PYTHON, args, { encoding: 'utf8', env, cwd: folder })
  }
  const bad = run()
  assert.equal(bad.status, 1, bad.stderr)
  assert.match(bad.stderr, /--max-dead-letters allows 0/)
  assert.equal(existsSync(target), false)
  const good = run('--max-dead-letters', '1')
  assert.equal(good.status, 0, good.stderr)
  assert.deepEqual(
    (await readRows(target)).map(({ row, label }) => [row, label]),
    [[0, 0]],
  )
  const written = readFileSync(target)
  const again = run('--max-dead-letters', '1')
  assert.equal(again.status, 0, again.stderr)
  assert.match(again.stderr, /already done|were already done|complete/)
  assert.deepEqual(readFileSync(target), written)
  // Whoever wants it anew removes the target, and thinks of nothing else.
  rmSync(target)
  const anew = run('--max-dead-letters', '1')
  assert.equal(anew.status, 0, anew.stderr)
  assert.equal(existsSync(target), true)
})
