import { readFile } from 'node:fs/promises'
import { messageOf, SluiceError } from '../core/errors.ts'
import { GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, readBundle } from '../models/bundle.ts'
import type { MadeUpRow } from '../models/made-up-rows.ts'
import { FORMAT } from '../models/manifest.ts'
import type { ModelStore, StoredModel } from '../models/store.ts'
import { type CheckSettings, type CheckTools, checkModel, type ModelReport } from './model-check.ts'
import { type DraftedModel, draftModel } from './model-drafting.ts'
import { makeSamples } from './model-samples.ts'
import { Staging, stageFolder } from './model-staging.ts'

/** A bare ONNX file, and what is known about it. */
export interface OnnxSource {
  readonly name: string
  readonly version: string
  readonly onnxFile: string
  /** Names in the order of the row; see `draftInputs`. */
  readonly features: readonly string[] | undefined
  /** A JSON file that becomes `training`. */
  readonly metadataFile: string | undefined
  /** Samples of the trainer; without them the model makes its own. */
  readonly goldenFile: string | undefined
  readonly allowExternalData: boolean
}

export interface AddedModel {
  readonly report: ModelReport
  /** What a person should know of how the bundle came about. */
  readonly notes: readonly string[]
}

const TOLERANCE = { absolute: 1e-5, relative: 1e-4 }
const LARGEST_GOLDEN = 8

/**
 * Makes a bundle of a bare ONNX file, checks it as `checkModel` does, and adds it to the store: whole, or not at all.
 * @throws SluiceError what is wrong with the file or the arguments; the first check that fails; `model-exists`
 */
export async function addOnnx(
  store: ModelStore,
  source: OnnxSource,
  settings: CheckSettings,
  tools: CheckTools,
): Promise<AddedModel> {
  await refuseKnown(store, source)
  const staging = await Staging.create(source.name, source.version)
  try {
    const notes = await fill(staging, source, settings, tools)
    return { report: await checkAndAdd(store, staging, settings, tools), notes }
  } catch (error) {
    throw inWordsOf(staging, source.onnxFile, error)
  } finally {
    await staging.remove()
  }
}

/**
 * Adds a bundle that a training run wrote, complete with model.json, which says name and version; the folder itself may be
 * called as it likes.
 * @throws SluiceError as `addOnnx` does
 */
export async function addFolder(
  store: ModelStore,
  folder: string,
  settings: CheckSettings,
  tools: CheckTools,
): Promise<AddedModel> {
  const { staging, spec } = await stageFolder(folder)
  try {
    await refuseKnown(store, spec)
    return { report: await checkAndAdd(store, staging, settings, tools), notes: [] }
  } catch (error) {
    throw inWordsOf(staging, `${folder}/${MODEL_FILE}`, error)
  } finally {
    await staging.remove()
  }
}

/** Before any work is done; `ModelStore.add` is who decides. */
async function refuseKnown(store: ModelStore, { name, version }: { name: string; version: string }): Promise<void> {
  const known = (await listOf(store)).find(model => model.name === name)
  if (known === undefined || !known.versions.includes(version)) return
  const there = known.versions.join(', ')
  throw new SluiceError(
    'model-exists',
    `the store has model "${name}" in version "${version}" already; it has ${there}`,
  )
}

/** A store that is not there yet has nothing; adding makes it, or says why it cannot. */
async function listOf(store: ModelStore): Promise<StoredModel[]> {
  try {
    return await store.list()
  } catch (error) {
    if (error instanceof SluiceError && error.code === 'model-missing') return []
    throw error
  }
}

async function checkAndAdd(
  store: ModelStore,
  staging: Staging,
  settings: CheckSettings,
  tools: CheckTools,
): Promise<ModelReport> {
  const bundle = await readBundle(staging.directory)
  const report = await checkModel(async () => bundle, settings, tools)
  if (report.failure !== undefined) throw report.failure
  try {
    await store.add(bundle)
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('invalid-config', `MODEL_STORE does not take it: ${messageOf(error)}`, { cause: error })
  }
  return report
}

/** Writes all files of the bundle; returns what to say about them. */
async function fill(
  staging: Staging,
  source: OnnxSource,
  settings: CheckSettings,
  tools: CheckTools,
): Promise<readonly string[]> {
  const { goldenFile, metadataFile } = source
  const training = metadataFile === undefined ? {} : parseMetadata(metadataFile, await readText(metadataFile))
  const golden = goldenFile === undefined ? undefined : await readText(goldenFile)
  await staging.take(source.onnxFile, MODEL_FILE)
  const rows = golden === undefined ? [] : goldenInputs(golden)
  const draft = await draftModel(staging, { ...source, rows }, settings, tools)
  const describe = (origin: object) =>
    staging.write(MANIFEST_FILE, `${JSON.stringify(manifestOf(source, draft, training, origin), null, 2)}\n`)
  await describe({ origin: 'trainer' })
  if (golden !== undefined) {
    await staging.write(GOLDEN_FILE, golden)
    return draft.notes
  }
  const samples = await makeSamples(await readBundle(staging.directory), settings, tools)
  if (samples.count === 0)
    return [...draft.notes, `no golden samples: the runtime refuses made-up rows (${samples.refusal})`]
  await staging.write(GOLDEN_FILE, samples.text)
  await describe({ origin: 'self-made', madeOn: `${samples.provider} on ${process.platform}-${process.arch}` })
  return draft.notes
}

function manifestOf(source: OnnxSource, draft: DraftedModel, training: object, golden: object): object {
  const { name, version } = source
  const { sha256, external, inputs, outputs } = draft
  const weights = external.length === 0 ? {} : { external }
  return { format: FORMAT, name, version, sha256, ...weights, inputs, outputs, tolerance: TOLERANCE, golden, training }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new SluiceError('invalid-config', `${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

function parseMetadata(file: string, text: string): object {
  const wrong = (problem: string) => new SluiceError('invalid-config', `${file} ${problem}; expected one JSON object`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw wrong(`is not valid JSON (${messageOf(error)})`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw wrong(`holds ${Array.isArray(value) ? 'an array' : String(value)}`)
}

/** Inputs of the first samples, to try the model with. What is wrong with the others is said when the bundle is read. */
function goldenInputs(text: string): MadeUpRow[] {
  return text
    .split('\n', LARGEST_GOLDEN)
    .filter(line => line.trim() !== '')
    .map((line, index) => {
      try {
        return (JSON.parse(line) as { input: MadeUpRow }).input ?? {}
      } catch (error) {
        throw new SluiceError('model-corrupt', `line ${index + 1} of --golden is not valid JSON: ${messageOf(error)}`)
      }
    })
}

/** The error with the file's own name in place of that of its copy, which nobody has seen. */
function inWordsOf(staging: Staging, file: string, error: unknown): unknown {
  if (!(error instanceof SluiceError)) return error
  const message = error.message.replaceAll(staging.modelFile, file).replaceAll(`${staging.directory}/`, '')
  return new SluiceError(error.code, message, { cause: error })
}
