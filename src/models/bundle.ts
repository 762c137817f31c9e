import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { GoldenSample, ModelSpec } from '../core/model.ts'
import { JsonField } from './json-field.ts'
import { parseManifest } from './manifest.ts'

export const MANIFEST_FILE = 'model.json'
const MODEL_FILE = 'model.onnx'
const GOLDEN_FILE = 'golden.jsonl'

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
 * Reads and checks a bundle, the folder `<store>/<name>/<version>`. The names of its files are fixed, so that nothing
 * in model.json can point out of the folder.
 * @throws SluiceError `model-corrupt`: a file is missing or damaged, model.json breaks its format or belongs to another
 *   folder, or the hash of model.onnx is not the one that model.json has.
 */
export async function readBundle(directory: string): Promise<ModelBundle> {
  const manifestFile = join(directory, MANIFEST_FILE)
  const spec = parseManifest(manifestFile, await readText(manifestFile))
  checkPlace(manifestFile, spec, resolve(directory))
  const modelFile = join(directory, MODEL_FILE)
  await checkHash(modelFile, spec.sha256)
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

async function checkHash(file: string, expected: string): Promise<void> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(file), hash)
  } catch (error) {
    throw unreadable(file, error)
  }
  const found = hash.digest('hex')
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
