import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../core/errors.ts'
import { type Bucket, MAX_TRANSFER_MS, type SmallObject, type Upload } from './bucket.ts'
import { MANIFEST_FILE, type ModelBundle } from './bundle.ts'
import { CHECKSUM_FILE, type Checksums, checksumsOf, formatChecksums, parseChecksums } from './checksums.ts'

/**
 * An add that has put nothing for so long is dead: it gives up an object that takes MAX_TRANSFER_MS. By the clock of the
 * store on one side and ours on the other, hence so much more.
 */
const ABANDONED_AFTER_MS = 2 * MAX_TRANSFER_MS

/**
 * Puts one bundle into a bucket. Object storage has no rename: files come one by one, and nothing holds back another add of
 * the same version. So the first object claims the version, and the last one makes it one:
 *
 *   1. SHA256SUMS, if there is none.   The claim. It says whose files lie there: those of the bundle with these hashes.
 *   2. The files, each if there is none. All who get here have equal claims, thus equal files: who put one does not
 *      matter. An object is never put again, so no upload that ends late can spoil a version.
 *   3. model.json, if there is none.   Now it is a version; of several adds one was first, the others hear `model-exists`.
 *
 * An add that is cut off leaves a claim and files. The same bundle, added again, finds its own claim and goes on. Another
 * bundle is refused while that may be an add under way; when nothing was put for an hour it takes the claim over and
 * removes the files. Two may find a dead claim at once: each puts its own only if the one that it saw is still there. Claims
 * are told apart by a comment in them; one that is half dead is claimed anew, so that nobody takes it over from an
 * add that goes on.
 */
export class BucketAdd {
  readonly #bucket: Bucket
  readonly #bundle: ModelBundle
  readonly #wallTime: () => number
  /** `<name>/<version>`, what the keys begin with. */
  readonly #place: string
  readonly #id = randomUUID()

  constructor(bucket: Bucket, bundle: ModelBundle, wallTime: () => number) {
    this.#bucket = bucket
    this.#bundle = bundle
    this.#wallTime = wallTime
    this.#place = `${bundle.spec.name}/${bundle.spec.version}`
  }

  /** @throws SluiceError `model-exists`, also while another bundle may be on its way to the same version. */
  async run(): Promise<void> {
    const checksums = await checksumsOf(this.#bundle.directory)
    const manifest = await readFile(join(this.#bundle.directory, MANIFEST_FILE))
    await this.#claim(checksums)
    for (const [path, sha256] of checksums) {
      await this.#bucket.put(this.#keyOf(path), await this.#fileUpload(path, sha256), 'absent')
    }
    const key = this.#keyOf(MANIFEST_FILE)
    if (await this.#bucket.put(key, this.#smallUpload(manifest), 'absent')) return
    if ((await this.#bucket.read(key))?.mark !== this.#id) throw this.#exists()
  }

  async #claim(checksums: Checksums): Promise<void> {
    const key = this.#keyOf(CHECKSUM_FILE)
    // Before the list: a claim that is put in between is one that the condition of our put does not fit.
    const former = await this.#bucket.read(key)
    const there = await this.#bucket.list(`${this.#place}/`)
    if (there.some(object => object.key === this.#keyOf(MANIFEST_FILE))) throw this.#exists()
    // A listing beside a put may lack objects that are there, in stores other than Amazon's: the claim counts by itself, too.
    const last = Math.max(former?.modified ?? 0, ...there.map(object => object.modified))
    const quiet = this.#wallTime() - last
    const ours = this.#isOf(former, checksums)
    if (ours && quiet < ABANDONED_AFTER_MS / 2) return
    if (ours || quiet >= ABANDONED_AFTER_MS) {
      const claim = this.#smallUpload(Buffer.from(formatChecksums(checksums, `added by ${this.#id}`)))
      if (await this.#bucket.put(key, claim, former === undefined ? 'absent' : { tag: former.tag })) {
        const others = there.map(object => object.key).filter(other => other !== key)
        return ours ? undefined : this.#bucket.remove(others)
      }
    }
    // Somebody is at it: with another bundle, or with this one.
    if (!this.#isOf(await this.#bucket.read(key), checksums)) throw this.#underWay(last || this.#wallTime())
  }

  #isOf(claim: SmallObject | undefined, checksums: Checksums): boolean {
    if (claim === undefined) return false
    const claimed = parseChecksums(`${this.#bucket.name}/${this.#keyOf(CHECKSUM_FILE)}`, claim.bytes.toString('utf8'))
    return formatChecksums(claimed, '') === formatChecksums(checksums, '')
  }

  async #fileUpload(path: string, sha256: string): Promise<Upload> {
    const file = join(this.#bundle.directory, path)
    const { size } = await stat(file)
    const base64 = Buffer.from(sha256, 'hex').toString('base64')
    return { bytes: size, sha256: base64, open: () => createReadStream(file) }
  }

  #smallUpload(content: Buffer): Upload {
    const sha256 = createHash('sha256').update(content).digest('base64')
    return { bytes: content.length, sha256, mark: this.#id, open: () => content }
  }

  #keyOf(path: string): string {
    return `${this.#place}/${path}`
  }

  #exists(): SluiceError {
    const { name, version } = this.#bundle.spec
    const there = `model "${name}" has a version "${version}" in ${this.#bucket.name} already`
    return new SluiceError('model-exists', `${there}; versions never change`)
  }

  #underWay(since: number): SluiceError {
    const { name, version } = this.#bundle.spec
    const [last, free] = [since, since + ABANDONED_AFTER_MS].map(time => new Date(time).toISOString())
    return new SluiceError(
      'model-exists',
      `another bundle is being added as version "${version}" of model "${name}" to ${this.#bucket.name}, or was until ` +
        `its add was cut off: the last of its files came at ${last}. Choose another version, or try again after ${free}, ` +
        `or, if nobody is adding it, remove ${this.#bucket.name}/${this.#place}/`,
    )
  }
}
