import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Command } from '../../src/commands/command.ts'
import { resolveCommand } from '../../src/commands/command.ts'
import { model } from '../../src/commands/model.ts'
import { loadSettings } from '../../src/config/load.ts'
import { systemClock } from '../../src/core/clock.ts'
import { readBundle } from '../../src/models/bundle.ts'
import { openModel } from '../../src/serving/serving.ts'
import { recordingLog } from '../inference/fixtures.ts'
import { runSluice } from '../support/sluice-process.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const onnx = (name: string) => join(root, 'test/fixtures/onnx', `${name}.onnx`)
const IRIS = join(root, 'models/iris-classifier/1')
const IRIS_FEATURES = 'sepal_length,sepal_width,petal_length,petal_width'

/** As it was at first: tests have one of their own. */
const TEMPORARY = tmpdir()

/** An empty folder with a store in it, and the command line on that store, without leaving this process. */
async function desk(t: TestContext, env: Record<string, string> = {}) {
  const folder = await mkdtemp(join(TEMPORARY, 'sluice-desk-'))
  t.after(() => rm(folder, { recursive: true }))
  await watchTemporaryFiles(t)
  const store = join(folder, 'store')
  const sluice = async (...words: string[]) => {
    const { command, argv } = resolveCommand(model, words)
    const printed: string[] = []
    const error = await (command as Command)
      .run({
        argv,
        env: { MODEL_STORE: store, INPUT_FORMAT: 'json', ...env },
        dotenvFile: join(folder, '.env'),
        signal: new AbortController().signal,
        print: line => printed.push(line),
        stderr: { write: () => {} },
        release: '0',
        useLog: () => {},
      })
      .then(
        () => undefined,
        (caught: Error & { code: string; exitCode: number }) => caught,
      )
    return { text: printed.join('\n'), error }
  }
  return { folder, store, sluice }
}

/** Fails the test if a command leaves a bundle in the folder for temporary files, in which ONNX Runtime keeps files, too. */
async function watchTemporaryFiles(t: TestContext): Promise<void> {
  const temporary = await mkdtemp(join(TEMPORARY, 'sluice-temporary-'))
  process.env.TMPDIR = temporary
  t.after(async () => {
    process.env.TMPDIR = TEMPORARY
    const left = (await readdir(temporary)).filter(name => name.startsWith('sluice-bundle'))
    await rm(temporary, { recursive: true })
    assert.deepEqual(left, [])
  })
}

const outcomes = (text: string) =>
  (JSON.parse(text) as { checks: { check: string; outcome: string }[] }).checks.map(({ outcome }) => outcome)

describe('model add', () => {
  it('makes a bundle of a bare file that serves as the one that training wrote', async t => {
    const { folder, store, sluice } = await desk(t, { INPUT_FORMAT: 'avro', SCHEMA_DIR: join(root, 'schemas') })
    const metadata = join(folder, 'metadata.json')
    await writeFile(metadata, '{"dataset": "iris", "metrics": {"accuracy": 0.97}}')
    const source = ['--name', 'iris', '--version', '7', '--onnx', join(IRIS, 'model.onnx')]
    const golden = ['--golden', join(IRIS, 'golden.jsonl'), '--metadata', metadata, '--features', IRIS_FEATURES]
    const { text, error } = await sluice('add', ...source, ...golden, '--json')
    assert.equal(error, undefined)
    assert.deepEqual(outcomes(text), ['passed', 'passed', 'passed', 'passed'])
    const { spec, golden: samples } = await readBundle(join(store, 'iris', '7'))
    const trained = await readBundle(IRIS)
    assert.deepEqual(
      { ...spec, name: '', version: '', training: {}, tolerance: {} },
      { ...trained.spec, name: '', version: '', training: {}, tolerance: {} },
    )
    assert.deepEqual(spec.training, { dataset: 'iris', metrics: { accuracy: 0.97 } })
    assert.deepEqual(await samples(), await trained.golden())
  })

  it('makes samples of its own where it is given none, the same each time, and says what they prove', async t => {
    const { store, sluice } = await desk(t)
    for (const version of ['1', '2']) {
      const { text, error } = await sluice('add', '--name', 'types', '--version', version, '--onnx', onnx('types'))
      assert.equal(error, undefined)
      assert.match(
        text,
        /passed {2}golden samples: 8 came out right on cpu; they are self-made and prove only that this machine/,
      )
    }
    const [one, two] = await Promise.all(
      ['1', '2'].map(version => readFile(join(store, 'types', version, 'golden.jsonl'), 'utf8')),
    )
    assert.equal(one, two)
    const shown = await sluice('show', 'types')
    assert.match(
      shown.text,
      /^ {2}golden samples {2}8; they are self-made and prove only that this machine computes what/m,
    )
    const { spec, golden } = await readBundle(join(store, 'types', '1'))
    assert.equal(spec.golden!.origin, 'self-made')
    const samples = await golden()
    assert.equal(samples.length, 8)
    for (const { input, output } of samples) {
      assert.equal(output.next_long, (input.long as number) + 1)
      assert.equal(output.not_flag, !input.flag)
      assert.deepEqual(
        output.twice,
        (input.double as number[]).map(value => 2 * value),
      )
    }
  })

  it('has the worker say at its start what samples of its own prove', async t => {
    const { store, sluice } = await desk(t)
    assert.equal((await sluice('add', '--name', 'm', '--version', '1', '--onnx', onnx('row-sums'))).error, undefined)
    const { log, lines } = recordingLog()
    const { settings } = loadSettings({ env: { MODEL_STORE: store, MODEL_NAME: 'm' }, required: ['modelName'] })
    const served = await openModel(settings, { log, clock: systemClock })
    await served.close()
    assert.equal(
      lines.filter(line => /^info the model repeats .*they are self-made and prove only/.test(line)).length,
      1,
    )
  })

  it('says what a store that cannot be written to says', async t => {
    const { folder, store, sluice } = await desk(t)
    await writeFile(store, 'a file where the folder should be')
    const { error } = await sluice('add', '--name', 'm', '--version', '1', '--onnx', onnx('row-sums'))
    assert.equal(error?.code, 'invalid-config')
    assert.match(error!.message, /^MODEL_STORE does not take it: ENOTDIR.*\/store/)
    assert.deepEqual(await readdir(folder), ['store'])
  })

  it('names the columns of a pipeline after its inputs', async t => {
    const { store, sluice } = await desk(t)
    assert.equal((await sluice('add', '--name', 'm', '--version', '1', '--onnx', onnx('columns'))).error, undefined)
    const { spec } = await readBundle(join(store, 'm', '1'))
    assert.deepEqual(
      spec.inputs.map(({ type, features }) => `${features[0]!.name} ${type}`),
      ['age float32', 'home_city string'],
    )
    assert.deepEqual(
      spec.outputs.map(({ field, type }) => `${field} ${type}`),
      ['doubled_age float32', 'code int64'],
    )
  })

  for (const [name, fixed] of [
    ['row-sums-of-1', 1],
    ['row-sums-of-4', 4],
    ['half', null],
    ['sequence', null],
  ] as const) {
    it(`takes ${name}`, async t => {
      const { store, sluice } = await desk(t)
      const { text, error } = await sluice('add', '--name', 'm', '--version', '1', '--onnx', onnx(name), '--json')
      assert.equal(error, undefined)
      assert.deepEqual(outcomes(text), ['passed', 'passed', 'skipped', 'passed'])
      const { spec } = await readBundle(join(store, 'm', '1'))
      assert.equal(spec.fixedBatch, fixed)
      assert.equal(spec.outputs.length, 1)
    })
  }

  it('takes weights that lie beside the file only where that is allowed', async t => {
    const { folder, store, sluice } = await desk(t)
    const source = join(folder, 'export.onnx')
    await cp(onnx('external'), source)
    const add = ['add', '--name', 'm', '--version', '1', '--onnx', source]
    const refused = await sluice(...add)
    assert.equal(refused.error?.code, 'external-data')
    assert.equal(refused.error?.message, `${source} keeps weights in other files: external.weights`)
    const missing = await sluice(...add, '--allow-external-data')
    assert.match(
      missing.error!.message,
      /keeps weights in "external\.weights", and .*external\.weights cannot be read: ENOENT/,
    )

    const weights = join(root, 'test/fixtures/onnx/external.weights')
    await symlink(weights, join(folder, 'external.weights'))
    const linked = await sluice(...add, '--allow-external-data')
    assert.match(linked.error!.message, /external\.weights is a link to .*, which lies elsewhere; copy the file there/)
    await rm(join(folder, 'external.weights'))
    assert.deepEqual(await readdir(folder), ['export.onnx'], 'nothing was added so far')

    await cp(weights, join(folder, 'external.weights'))
    assert.equal((await sluice(...add, '--allow-external-data')).error, undefined)
    const files = ['external.weights', 'golden.jsonl', 'model.json', 'model.onnx']
    assert.deepEqual((await readdir(join(store, 'm', '1'))).sort(), files)
    await writeFile(join(store, 'm', '1', 'external.weights'), 'other bytes')
    const verified = await sluice('verify', 'm')
    assert.equal(verified.error?.code, 'model-corrupt')
    assert.match(verified.text, /FAILED {2}files: .*external\.weights has the SHA-256/)
  })

  for (const [name, code, message] of [
    [
      'external-climbing',
      'external-data',
      /weights in "\.\.\/\.\.\/\.\.\/outside\/external\.weights"; expected the plain name/,
    ],
    ['external-absolute', 'external-data', /weights in "\/tmp\/external\.weights"; expected the plain name/],
    [
      'external-inside',
      'external-data',
      /takes only initializers from other files, and "value" is the attribute of a node/,
    ],
    ['maps', 'model-unsupported', /options=\{"zipmap": False\}/],
    ['pixels', 'model-unsupported', /input "x" is of type uint8/],
    ['flattened', 'model-unsupported', /output "flat" has the shape \[14\] for 7 rows/],
    ['open-shapes', 'model-unsupported', /--features says that/],
    ['unknown-operator', 'session-failed', /could not open .*fixtures\/onnx\/unknown-operator\.onnx: .*Frobnicate/],
    ['truncated', 'model-corrupt', /fixtures\/onnx\/truncated\.onnx cannot be used: it is no ONNX model/],
    ['nowhere', 'invalid-config', /nowhere\.onnx cannot be copied: ENOENT/],
  ] as const) {
    it(`refuses ${name}, and leaves nothing behind`, async t => {
      const { folder, sluice } = await desk(t)
      const add = ['add', '--name', 'm', '--version', '1', '--onnx', onnx(name), '--allow-external-data']
      const { error } = await sluice(...add)
      assert.equal(error?.code, code, error?.message)
      assert.match(error!.message, message)
      assert.deepEqual(await readdir(folder), [])
    })
  }

  it('refuses samples of the trainer that do not come out, and a version that is there', async t => {
    const { folder, store, sluice } = await desk(t)
    const wrong = join(folder, 'golden.jsonl')
    const source = ['--name', 'm', '--version', '1', '--onnx', onnx('row-sums'), '--features', 'x[4]']
    await writeFile(wrong, '{"input": {"x": [1, 2, 3, 4]}, "output": {"sum": 11}}\n')
    const mismatch = await sluice('add', ...source, '--golden', wrong)
    assert.equal(mismatch.error?.code, 'golden-mismatch')
    assert.deepEqual(await readdir(folder), ['golden.jsonl'])
    await writeFile(wrong, '{"input": {"x": [1, 2, 3, 4]}, "output": {"sum": 10}}\n')
    assert.equal((await sluice('add', ...source, '--golden', wrong)).error, undefined)
    const again = await sluice('add', ...source)
    assert.equal(again.error?.code, 'model-exists')
    assert.equal((await readFile(join(store, 'm', '1', 'golden.jsonl'), 'utf8')).length, 54)
  })

  it('takes the folder that a training run wrote, whatever it is called', async t => {
    const { folder, store, sluice } = await desk(t)
    const out = join(folder, 'out')
    await cp(IRIS, out, { recursive: true })
    await writeFile(join(out, 'notes.txt'), 'no part of the bundle')
    assert.equal((await sluice('add', '--from', out)).error, undefined)
    const added = join(store, 'iris-classifier', '1')
    assert.deepEqual((await readdir(added)).sort(), ['golden.jsonl', 'model.json', 'model.onnx'])
    assert.equal(await readFile(join(added, 'model.json'), 'utf8'), await readFile(join(IRIS, 'model.json'), 'utf8'))
    await mkdir(join(folder, 'empty'))
    const empty = await sluice('add', '--from', join(folder, 'empty'))
    assert.equal(empty.error?.code, 'model-corrupt')
    assert.match(empty.error!.message, /empty\/model\.json cannot be read: ENOENT/)
  })

  for (const [words, message] of [
    [['--name', 'm'], /--name, --version and --onnx are needed, or --from/],
    [['--name', '../m', '--version', '1', '--onnx', 'x'], /--name is "\.\.\/m"; expected letters, digits/],
    [['--name', 'm', '--version', '.1', '--onnx', 'x'], /--version is "\.1"; expected letters, digits/],
    [['--from', 'x', '--name', 'm'], /--from takes all from the model\.json of its folder, --name too/],
    [['--from', 'x', '--open-timeout-ms', '1s'], /--open-timeout-ms is "1s"/],
    [['x.onnx'], /"x\.onnx" is no option/],
  ] as const) {
    it(`refuses ${words.join(' ')}`, async t => {
      const { error } = await (await desk(t)).sluice('add', ...words)
      assert.equal(error?.exitCode, 2)
      assert.match(error!.message, message)
    })
  }
})

describe('model list, show and verify', () => {
  const shelf = { MODEL_STORE: join(root, 'models') }

  it('lists what is there', async t => {
    const { sluice } = await desk(t, shelf)
    const { text } = await sluice('list')
    assert.match(text, /^digits-mlp {7}1\nffnn {13}1\niris-classifier {2}1\n/)
    const listed = JSON.parse((await sluice('list', '--json')).text)
    assert.deepEqual(listed[0], { name: 'digits-mlp', versions: ['1'] })
  })

  it('shows a version', async t => {
    const { sluice } = await desk(t, shelf)
    const { text } = await sluice('show', 'iris-classifier')
    const sizes = (await readFile(join(IRIS, 'model.onnx'))).length
    for (const line of [
      /^model "iris-classifier", version "1"$/m,
      /^ {2}SHA-256 {9}[0-9a-f]{64}$/m,
      /^ {2}size {12}[\d.]+ kB$/m,
      /^ {2}inputs {10}\S+ float32\[\?,4\] of sepal_length, sepal_width, petal_length, petal_width$/m,
      /^ {2}outputs {9}label: label int64\[\?\]$/m,
      /^ {18}probabilities: probabilities float32\[\?,3\]$/m,
      /^ {2}golden samples {2}\d+; they are of the trainer$/m,
    ]) {
      assert.match(text, line)
    }
    const shown = JSON.parse((await sluice('show', 'iris-classifier', '--version', '1', '--json')).text)
    assert.equal(shown.bytes, sizes)
    assert.equal(shown.golden.origin, 'trainer')
    assert.equal(shown.inputs[0].features.length, 4)
    const missing = await sluice('show', 'iris-classifier', '--version', '9')
    assert.match(missing.error!.message, /has no version "9" in .*; it has 1/)
  })

  it('verifies the features against the schema that the settings give', async t => {
    const features = join(root, 'schemas/iris-features.avsc')
    const fits = await desk(t, { ...shelf, INPUT_FORMAT: 'avro-raw', INPUT_SCHEMA: features })
    const passed = await fits.sluice('verify', 'iris-classifier', '--json')
    assert.equal(passed.error, undefined)
    assert.deepEqual(outcomes(passed.text), ['passed', 'passed', 'passed', 'passed'])

    const image = join(root, 'schemas/digits-features.avsc')
    const misfits = await desk(t, { ...shelf, INPUT_FORMAT: 'avro-raw', INPUT_SCHEMA: image })
    const { text, error } = await misfits.sluice('verify', 'iris-classifier')
    assert.equal(error?.code, 'schema-misfit')
    assert.equal(error?.message, 'model "iris-classifier", version "1", must not serve: record schema failed')
    assert.match(
      text,
      /FAILED {2}record schema: the schema of INPUT_SCHEMA does not fit: the record has no field "sepal_length"/,
    )
    assert.match(text, /passed {2}golden samples/)

    const given = await desk(t, { ...shelf, INPUT_FORMAT: 'avro', SCHEMA_DIR: join(root, 'schemas') })
    assert.match(
      (await given.sluice('verify', 'digits-mlp')).text,
      /passed {2}record schema: schema \d of .* has the features/,
    )
  })

  it('fails, and says of each check how it went', async t => {
    const { store, sluice } = await desk(t)
    await cp(IRIS, join(store, 'iris-classifier', '1'), { recursive: true })
    const golden = join(store, 'iris-classifier', '1', 'golden.jsonl')
    await writeFile(golden, (await readFile(golden, 'utf8')).replace(/"label": ?\d/, '"label": 7'))
    const { text, error } = await sluice('verify', 'iris-classifier', '--json')
    assert.equal(error?.exitCode, 1)
    assert.equal(error?.code, 'golden-mismatch')
    const report = JSON.parse(text)
    assert.equal(report.ok, false)
    assert.deepEqual(outcomes(text), ['passed', 'passed', 'skipped', 'failed'])
    assert.match(report.checks[3].message, /golden sample 1: on cpu, field "label" is \d, expected 7/)
  })
})

describe('the command line', () => {
  it('lists the subcommands with an example each, and knows no others', async () => {
    const [help, none] = await Promise.all([runSluice(['model', '--help']), runSluice(['model'])])
    assert.equal(help.code, 0)
    for (const example of [
      /add .*\n +sluice model add --name iris --version 2 --onnx iris\.onnx/,
      /list .*\n +sluice model list/,
      /show .*\n +sluice model show iris-classifier/,
      /verify .*\n +sluice model verify iris-classifier/,
    ]) {
      assert.match(help.stdout, example)
    }
    assert.equal(none.code, 2)
    assert.equal(none.stdout, help.stdout)
    const unknown = { exitCode: 2, message: /"ad" is none of its commands, add, list, show, verify\b/ }
    assert.throws(() => resolveCommand(model, ['ad', '--help']), unknown)
  })

  it('ends with 0 for a model that may serve, and with 1 and one line for one that may not', async () => {
    const env = { MODEL_STORE: join(root, 'models'), INPUT_FORMAT: 'json' }
    const [good, bad] = await Promise.all([
      runSluice(['model', 'verify', 'iris-regressor'], { env }),
      runSluice(['model', 'verify', 'iris-regressor', '--version', '2'], { env }),
    ])
    assert.equal(good.code, 0)
    assert.match(good.stdout, /^model "iris-regressor", version "1"\n {2}passed {2}files: /)
    assert.equal(bad.code, 1)
    assert.match(
      bad.stderr,
      /^sluice: model "iris-regressor", version "2", must not serve: files failed \(model-missing\)/,
    )
    assert.equal(bad.stderr.trim().split('\n').length, 1)
  })
})
