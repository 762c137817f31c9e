import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { SluiceError } from '../core/errors.ts'
import { MANIFEST_FILE } from './bundle.ts'

/** In a bucket: the hashes of all files of a bundle but model.json, as sha256sum writes and checks them. */
export const CHECKSUM_FILE = 'SHA256SUMS'

/** SHA-256 in hex by the path of a file in its bundle, with slashes. Ordered by path. */
export type Checksums = ReadonlyMap<string, string>

/** The text of SHA256SUMS, with a first line that sha256sum takes for a comment. */
export function formatChecksums(checksums: Checksums, comment: string): string {
  return `# ${comment}\n${[...checksums].map(([path, sha256]) => `${sha256}  ${path}\n`).join('')}`
}

/**
 * Reads the text of SHA256SUMS; `file` names it in messages.
 * @throws SluiceError `model-corrupt`, also for a path that leads out of the bundle.
 */
export function parseChecksums(file: string, text: string): Checksums {
  const lines = text.split('\n')
  return new Map(
    lines.flatMap((line, index) => {
      if (line === '' || line.startsWith('#')) return []
      const [, sha256, path] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? []
      if (path !== undefined && isInside(path)) return [[path, sha256!]]
      const expected = 'expected 64 hex digits, two spaces, and a path within the bundle'
      throw new SluiceError('model-corrupt', `${file}, line ${index + 1} is ${JSON.stringify(line)}; ${expected}`)
    }),
  )
}

/** Whether a path with slashes names something below the folder that it is taken from. */
export function isInside(path: string): boolean {
  return path.split('/').every(part => part !== '' && part !== '.' && part !== '..') && !/[\\\0]/.test(path)
}

/** Hashes every file of the bundle in `directory` but model.json and SHA256SUMS. Links are followed. */
export async function checksumsOf(directory: string): Promise<Checksums> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter(entry => !entry.isDirectory())
    .map(entry => join(entry.parentPath, entry.name).slice(join(directory, sep).length).replaceAll(sep, '/'))
    .filter(path => path !== MANIFEST_FILE && path !== CHECKSUM_FILE)
  const checksums = new Map<string, string>()
  for (const path of paths.sort()) checksums.set(path, await sha256Of(join(directory, path)))
  return checksums
}

/** The SHA-256 of a file, in hex. Throws what reading throws. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}
