import { constants } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { ModelSpec } from '../core/model.ts'
import { BASELINE_FILE, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE } from '../models/bundle.ts'
import { isExternalFileName, parseManifest } from '../models/manifest.ts'

/**
 * A bundle that is being put together, in a folder of its own: what is looked at, verified and added are the same bytes,
 * whatever happens meanwhile to the files that they were copied from.
 */
export class Staging {
  /** `…/<name>/<version>`, as a bundle's folder must be. */
  readonly directory: string
  readonly #root: string

  static async create(name: string, version: string): Promise<Staging> {
    const root = await mkdtemp(join(tmpdir(), 'sluice-bundle-'))
    const staging = new Staging(root, join(root, name, version))
    await mkdir(staging.directory, { recursive: true })
    return staging
  }

  private constructor(root: string, directory: string) {
    this.#root = root
    this.directory = directory
  }

  get modelFile(): string {
    return this.pathOf(MODEL_FILE)
  }

  pathOf(name: string): string {
    return join(this.directory, name)
  }

  /**
   * Copies a file, and shares its blocks where the file system can. Whoever reads the store may read the copy: exporters
   * write weights for their own user only.
   * @throws SluiceError `invalid-config` naming the file
   */
  async take(from: string, name: string): Promise<void> {
    try {
      await copyFile(from, this.pathOf(name), constants.COPYFILE_FICLONE)
      await chmod(this.pathOf(name), 0o644)
    } catch (error) {
      throw new SluiceError('invalid-config', `${from} cannot be copied: ${messageOf(error)}`, { cause: error })
    }
  }

  /**
   * Copies a file of weights that lies in the folder of `modelFile`.
   * @param location as the graph has it
   * @throws SluiceError `external-data` when it leads elsewhere, itself or as a link, or is no file
   */
  async takeWeights(modelFile: string, location: string): Promise<void> {
    const folder = dirname(modelFile)
    if (!isExternalFileName(location)) {
      const expected = `expected the plain name of a file beside ${basename(modelFile)}`
      throw new SluiceError('external-data', `${modelFile} keeps weights in "${location}"; ${expected}`)
    }
    const file = join(folder, location)
    const problem = await misplaced(file, folder)
    if (problem !== undefined) {
      throw new SluiceError('external-data', `${modelFile} keeps weights in "${location}", and ${file} ${problem}`)
    }
    await this.take(file, location)
  }

  async write(name: string, content: string): Promise<void> {
    await writeFile(this.pathOf(name), content)
  }

  async remove(): Promise<void> {
    await rm(this.#root, { recursive: true, force: true })
  }
}

/**
 * Stages what a training run wrote: model.json, and the files that it speaks of. Whether they are right is not looked at.
 * @throws SluiceError `model-corrupt` when model.json is missing or breaks its format; `invalid-config` for other files
 */
export async function stageFolder(folder: string): Promise<{ staging: Staging; spec: ModelSpec }> {
  const manifestFile = join(folder, MANIFEST_FILE)
  const text = await readFile(manifestFile, 'utf8').catch(error => {
    throw new SluiceError('model-corrupt', `${manifestFile} cannot be read: ${messageOf(error)}`, { cause: error })
  })
  const spec = parseManifest(manifestFile, text)
  const staging = await Staging.create(spec.name, spec.version)
  try {
    await staging.write(MANIFEST_FILE, text)
    const model = join(folder, MODEL_FILE)
    await staging.take(model, MODEL_FILE)
    for (const { file } of spec.external ?? []) await staging.takeWeights(model, file)
    for (const file of [GOLDEN_FILE, BASELINE_FILE]) {
      if (await isThere(join(folder, file))) await staging.take(join(folder, file), file)
    }
    return { staging, spec }
  } catch (error) {
    await staging.remove()
    throw error
  }
}

/** Why a file may not be taken along as one that lies in `folder`, or undefined. */
async function misplaced(file: string, folder: string): Promise<string | undefined> {
  try {
    const [real, home] = await Promise.all([realpath(file), realpath(folder)])
    if (dirname(real) !== home) return `is a link to ${real}, which lies elsewhere; copy the file there`
    return (await stat(real)).isFile() ? undefined : 'is no file'
  } catch (error) {
    return `cannot be read: ${messageOf(error)}`
  }
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}
