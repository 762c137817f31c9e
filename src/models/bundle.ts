import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat, readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { GoldenSample, ModelSpec } from '../core/model.ts'
import { JsonField } from './json-field.ts'
import { parseManifest } from './manifest.ts'

export const MANIFEST_FILE = 'model.json'
export const MODEL_FILE = 'model.onnx'
export const GOLDEN_FILE = 'golden.jsonl'
/** Histograms of the training data; kept with the bundle. */
export const BASELINE_FILE = 'baseline.json'

/** A model version in a folder: its description, and where its files are. */
export interface ModelBundle {
  readonly spec: ModelSpec
  readonly directory: string
  /** Path of model.onnx, whose hash was that of `spec.sha256` when the bundle was read. */
  readonly modelFile: string
  /**
   * Reads golden.jsonl; sample i is line i + 1. Empty when the bundle has no such file.
   * @throws SluiceError `model-corrupt`, naming the line.
   */
  golden(): Promise<GoldenSample[]>
}

/**
 * Reads and checks a bundle, the folder `<store>/<name>/<version>`. The names of its files are fixed, or plain names, so
 * that nothing in model.json can point out of the folder. What model.onnx itself points to is looked at by whoever opens it.
 * @throws SluiceError `model-corrupt`: a file is missing or damaged, model.json breaks its format or belongs to another
 *   folder, or a file has not the hash that model.json says.
 */
export async function readBundle(directory: string): Promise<ModelBundle> {
  const manifestFile = join(directory, MANIFEST_FILE)
  const spec = parseManifest(manifestFile, await readText(manifestFile))
  checkPlace(manifestFile, spec, resolve(directory))
  const modelFile = join(directory, MODEL_FILE)
  await checkHash(modelFile, spec.sha256)
  for (const { file, sha256 } of spec.external ?? []) await checkExternal(join(directory, file), sha256)
  return { spec, directory, modelFile, golden: () => readGolden(join(directory, GOLDEN_FILE), spec) }
}

/** A bundle that was copied to another version without changing model.json would serve under a false name. */
function checkPlace(manifestFile: string, { name, version }: ModelSpec, directory: string): void {
  const place = [basename(dirname(directory)), basename(directory)]
  if (place[0] === name && place[1] === version) return
  throw new SluiceError(
    'model-corrupt',
    `${manifestFile} is of model "${name}", version "${version}", but lies in the folder ${place.join('/')}; ` +
      `expected ${name}/${version}`,
  )
}

/** A link among the weights could lead out of the bundle, and to something else tomorrow. */
async function checkExternal(file: string, sha256: string): Promise<void> {
  const stats = await lstat(file).catch(error => Promise.reject(unreadable(file, error)))
  if (!stats.isFile()) {
    throw new SluiceError('model-corrupt', `${file} is no file but a link or a folder; copy the weights there`)
  }
  await checkHash(file, sha256)
}

/** The SHA-256 of a file in hex digits. @throws SluiceError `model-corrupt` when it cannot be read. */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(file), hash)
  } catch (error) {
    throw unreadable(file, error)
  }
  return hash.digest('hex')
}

async function checkHash(file: string, expected: string): Promise<void> {
  const found = await hashFile(file)
  if (found === expected) return
  throw new SluiceError(
    'model-corrupt',
    `${file} has the SHA-256 ${found}, but ${MANIFEST_FILE} says ${expected}; if the model is the right one, put its hash there`,
  )
}

async function readGolden(file: string, spec: ModelSpec): Promise<GoldenSample[]> {
  const text = await readText(file, '')
  const lines = text === '' ? [] : text.replace(/(\r?\n)+$/, '').split('\n')
  const outputs = spec.outputs.map(output => output.field)
  return lines.map((line, index) => {
    const { input, output } = JsonField.parse(`${file}, line ${index + 1}`, line).object(['input', 'output'])
    input.object()
    for (const field of Object.values(output.object(outputs)))
      if (!field.isPresent) throw field.wrong('its golden value')
    return { input: input.value, output: output.value } as GoldenSample
  })
}

/** The text of a file; `absent` where it is given and the file does not exist. */
async function readText(file: string, absent?: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (absent !== undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return absent
    throw unreadable(file, error)
  }
}

function unreadable(file: string, error: unknown): SluiceError {
  const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
  const problem = missing ? 'is missing from the bundle' : `cannot be read: ${messageOf(error)}`
  return new SluiceError('model-corrupt', `${file} ${problem}`, { cause: error })
}
