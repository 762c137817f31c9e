import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { copyFile, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { messageOf, SluiceError } from '../core/errors.ts'
import { MANIFEST_FILE, type ModelBundle, readBundle } from './bundle.ts'
import { CHECKSUM_FILE, type Checksums, formatChecksums, parseChecksums, sha256Of } from './checksums.ts'
import { FolderStore, type StoredModel } from './store.ts'

const BLOBS = 'blobs'
/** What names begin with that somebody is still writing. A crash leaves them behind, and nobody reads them. */
const INCOMING = '.incoming-'
const INCOMING_LASTS_MS = 24 * 60 * 60_000

/** A file system that has no hard links, or not one more of them to this file, says one of these. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EXDEV'])

/**
 * Files of a store that is elsewhere, in a folder that several workers of a machine may share:
 *
 *   <root>/blobs/<sha256>                       content under its own hash
 *   <root>/<store>/<name>/<version>/model.onnx  a bundle: hard links to blobs, which every reader takes for files
 *   <root>/<store>/<name>/<version>/model.json  linked last: with it, the version is there
 *
 * Whatever appears under a name is whole: it is written beside its place, synced, and renamed into it. Writers of the same
 * content do not disturb each other, as either may win.
 */
export class ModelCache {
  readonly #root: string
  readonly #bundles: string

  /** `store` is a name for the store: a folder name. */
  constructor(root: string, store: string) {
    this.#root = root
    this.#bundles = join(root, store)
  }

  /** Whether there is content of this hash, undamaged: it is read for that. */
  async has(sha256: string): Promise<boolean> {
    return (await sha256Of(this.#blob(sha256)).catch(() => undefined)) === sha256
  }

  /** Takes content in and returns its hash. Throws what `content` throws, and keeps nothing then. */
  async receive(content: AsyncIterable<Uint8Array>): Promise<string> {
    const folder = join(this.#root, BLOBS)
    const incoming = join(folder, INCOMING + randomUUID())
    const hash = createHash('sha256')
    const hashed = async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk)
        yield chunk
      }
    }
    let file: WriteStream | undefined
    try {
      await this.#writing(mkdir(folder, { recursive: true }))
      file = createWriteStream(incoming, { flush: true })
      await pipeline(content, hashed, file)
      const sha256 = hash.digest('hex')
      await this.#writing(rename(incoming, this.#blob(sha256)))
      return sha256
    } catch (error) {
      // A stream that fails while it is being opened makes its file a moment later.
      if (file?.closed === false) await once(file, 'close').catch(() => {})
      await rm(incoming, { force: true }).catch(() => {})
      throw error instanceof SluiceError ? error : this.#unwritable(error)
    }
  }

  /**
   * Makes a bundle of content that is here. What the folder has under a file's name is replaced, so that a damaged file
   * is repaired; a reader that has it open keeps what it had.
   */
  async assemble(name: string, version: string, manifest: Buffer, checksums: Checksums): Promise<ModelBundle> {
    const directory = join(this.#bundles, name, version)
    await this.#writing(this.#fill(directory, manifest, checksums))
    return readBundle(directory)
  }

  /** The models of this store that are here, with their versions. */
  async list(): Promise<StoredModel[]> {
    return new FolderStore(this.#bundles).list().catch(() => [])
  }

  /**
   * The bundle of a version that is here. @throws SluiceError `model-corrupt` when a file of it was damaged,
   * `model-missing` when it is not here.
   */
  async find(name: string, version: string): Promise<ModelBundle> {
    const bundle = await new FolderStore(this.#bundles).find(name, version)
    const file = join(bundle.directory, CHECKSUM_FILE)
    for (const [path, sha256] of parseChecksums(file, await readFile(file, 'utf8'))) {
      const found = await sha256Of(join(bundle.directory, path)).catch(() => 'none')
      if (found === sha256) continue
      throw new SluiceError('model-corrupt', `${join(bundle.directory, path)} has the SHA-256 ${found}, not ${sha256}`)
    }
    return bundle
  }

  /** Removes what crashes left behind. */
  async sweep(now: number): Promise<void> {
    const folder = join(this.#root, BLOBS)
    const incoming = (await readdir(folder).catch(() => [])).filter(entry => entry.startsWith(INCOMING))
    for (const file of incoming.map(entry => join(folder, entry))) {
      const since = (await stat(file).catch(() => undefined))?.mtimeMs ?? now
      if (now - since > INCOMING_LASTS_MS) await rm(file, { force: true })
    }
  }

  async #fill(directory: string, manifest: Buffer, checksums: Checksums): Promise<void> {
    const manifestFile = join(directory, MANIFEST_FILE)
    await mkdir(directory, { recursive: true })
    // Of a version that was removed from the store and added anew, contrary to the rules: half of each is none.
    const before = await readFile(manifestFile).catch(() => undefined)
    if (before !== undefined && !before.equals(manifest)) await rm(manifestFile, { force: true })
    for (const [path, sha256] of checksums) {
      const place = join(directory, path)
      await mkdir(dirname(place), { recursive: true })
      await putInPlace(place, incoming => linkOrCopy(this.#blob(sha256), incoming))
    }
    const text = formatChecksums(checksums, 'of the files in this folder, as they were downloaded')
    await putInPlace(join(directory, CHECKSUM_FILE), incoming => writeFile(incoming, text, { flush: true }))
    await putInPlace(manifestFile, incoming => writeFile(incoming, manifest, { flush: true }))
  }

  #blob(sha256: string): string {
    return join(this.#root, BLOBS, sha256)
  }

  async #writing<T>(work: Promise<T>): Promise<T> {
    return work.catch(error => {
      throw this.#unwritable(error)
    })
  }

  #unwritable(error: unknown): SluiceError {
    return new SluiceError('invalid-config', `MODEL_CACHE_DIR, ${this.#root}, cannot be written: ${messageOf(error)}`)
  }
}

/** Lets `make` make a file beside `place`, and renames it there: readers find the old one or the new one. */
async function putInPlace(place: string, make: (incoming: string) => Promise<unknown>): Promise<void> {
  const incoming = join(dirname(place), INCOMING + randomUUID())
  try {
    await make(incoming)
    await rename(incoming, place)
  } finally {
    // A rename between two links to one file does nothing, and leaves both.
    await rm(incoming, { force: true })
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(error => {
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    return copyFile(from, to)
  })
}
