import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const CACHE = fileURLToPath(new URL('../.cache/', import.meta.url))

/**
 * Python with the packages of a requirements file, in an environment under `.cache/` that is made once.
 * @returns the path of its interpreter, or in words why there is none here
 */
export function pythonWith(requirements: string): { readonly python: string } | { readonly missing: string } {
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 12)
  const folder = `${CACHE}python-${digest}`
  const python = `${folder}/bin/python`
  if (existsSync(`${folder}/complete`)) return { python }
  mkdirSync(CACHE, { recursive: true })
  rmSync(folder, { recursive: true, force: true })
  for (const [command, ...args] of [
    ['python3', '-m', 'venv', folder],
    [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements],
  ] as const) {
    const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8' })
    if (status === 0) continue
    rmSync(folder, { recursive: true, force: true })
    return {
      missing: `${command} ${args.slice(0, 2).join(' ')} failed: ${error?.message ?? stderr.trim().split('\n').at(-1)}`,
    }
  }
  writeFileSync(`${folder}/complete.part`, '')
  renameSync(`${folder}/complete.part`, `${folder}/complete`)
  return { python }
}
