import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tail } from '../../dev/java.ts'

const execute = promisify(execFile)
const CACHE = fileURLToPath(new URL('../../.cache/', import.meta.url))

/** `.cache/<name>/<hash of the files>/` in the checkout, whether it is there or not. */
export function cacheFolder(name: string, files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) hash.update(`${basename(file)}\0`).update(readFileSync(file))
  return join(CACHE, name, hash.digest('hex').slice(0, 12))
}

/**
 * Lets `build` fill the folder unless it exists. It appears whole or not at all, also when several processes fill it at
 * once: each fills its own, the first rename wins.
 */
export async function buildOnce(folder: string, build: (draft: string) => Promise<void>): Promise<void> {
  if (existsSync(folder)) return
  await mkdir(dirname(folder), { recursive: true })
  const draft = await mkdtemp(`${folder}.`)
  try {
    await build(draft)
    await rename(draft, folder).catch(error => {
      if (!existsSync(folder)) throw error
    })
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/**
 * Runs a tool to its end; returns what it printed.
 * @throws Error with the end of its output, or with `missing` where there is no such tool
 */
export async function runTool(file: string, args: readonly string[], missing: string): Promise<string> {
  try {
    const { stdout, stderr } = await execute(file, args)
    return stdout + stderr
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
    if (code === 'ENOENT') throw new Error(missing, { cause: error })
    throw new Error(`${file} ${args.join(' ')} failed:\n${tail(stdout + stderr)}`, { cause: error })
  }
}
