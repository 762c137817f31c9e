import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tail, WITHOUT_JAVA } from './java.ts'

const run = promisify(execFile)
const CACHE = fileURLToPath(new URL('../.cache/', import.meta.url))

/**
 * The folder with what a pom, `dev/<name>/pom.xml` unless told otherwise, asks Maven for: `.cache/<name>/<hash of the
 * pom>/` in the checkout. Filled once, by the pom's `generate-resources` phase with `-Dfolder=…`; `report` hears one
 * line when that is needed. The folder appears whole or not at all, also when several processes fill it at once: each
 * fills its own, the first rename wins. Throws, saying what to install, when Maven is missing, and with Maven's last words when it fails.
 */
export async function mavenFolder(
  name: string,
  report: (line: string) => void,
  pom = fileURLToPath(new URL(`${name}/pom.xml`, import.meta.url)),
): Promise<string> {
  const hash = createHash('sha256')
    .update(await readFile(pom))
    .digest('hex')
    .slice(0, 12)
  const folder = join(CACHE, name, hash)
  if (existsSync(folder)) return folder
  report(`${name}: downloading jars from Maven Central (once)…`)
  await mkdir(dirname(folder), { recursive: true })
  const draft = await mkdtemp(`${folder}.`)
  try {
    await runMaven(pom, draft)
    if ((await readdir(draft)).length === 0) throw new Error(`Maven ended well but brought nothing for ${pom}.`)
    await rename(draft, folder).catch(error => {
      if (!existsSync(folder)) throw error
    })
  } finally {
    await rm(draft, { recursive: true, force: true })
    await rm(`${draft}.markers`, { recursive: true, force: true })
  }
  return folder
}

async function runMaven(pom: string, folder: string): Promise<void> {
  // Two Mavens that fill ~/.m2 at once may trip over each other's half-written files; the second try reads whole ones.
  for (let attempt = 1; ; attempt++) {
    try {
      await run('mvn', ['-B', '-q', '-ntp', '-f', pom, `-Dfolder=${folder}`, 'generate-resources'])
      return
    } catch (error) {
      const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string }
      if (code === 'ENOENT') {
        throw new Error(
          `Maven is needed once, to download the jars of ${basename(dirname(pom))}, and "mvn" is not on the PATH. ` +
            `Install it (Debian: apt install maven; macOS: brew install maven). ${WITHOUT_JAVA}`,
        )
      }
      if (attempt === 2) {
        throw new Error(`Maven could not download the jars that ${pom} names:\n${tail(stdout + stderr)}`, {
          cause: error,
        })
      }
    }
  }
}
