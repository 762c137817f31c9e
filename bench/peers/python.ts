import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command, Job } from '../contender.ts'
import { buildOnce, cacheFolder, runTool } from './build.ts'
import { type Peer, peerEnvironment } from './peer.ts'

const SOURCES = fileURLToPath(new URL('python/', import.meta.url))
const REQUIREMENTS = join(SOURCES, 'requirements.txt')

/** The one that training/ uses first, then newer ones; numpy is pinned to a release that needs 3.11. */
const PYTHONS = ['python3.11', 'python3.12', 'python3.13', 'python3']
const OLDEST_MINOR = 11

const MISSING =
  `The Python peer needs Python 3.${OLDEST_MINOR} or newer, and none of ${PYTHONS.join(', ')} is one. ` +
  'Install it (Debian: apt install python3 python3-venv; macOS: brew install python@3.11), point PYTHON at it, ' +
  'or run the bench without --peers.'

/** librdkafka by way of confluent-kafka, numpy and ONNX Runtime, in a virtual environment of pinned packages. */
export const pythonPeer: Peer = {
  name: 'python',

  isBuilt: () => existsSync(environment()),

  async prepare(report) {
    await buildOnce(environment(), async draft => {
      const python = await findPython()
      report('python peer: installing its packages (once)…')
      await runTool(python, ['-m', 'venv', draft], MISSING)
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps']
      await runTool(join(draft, 'bin', 'python'), [...pip, '-r', REQUIREMENTS], MISSING)
    })
  },

  command(job: Job): Command {
    const env = { ...peerEnvironment(job), PYTHONDONTWRITEBYTECODE: '1' }
    return { file: join(environment(), 'bin', 'python'), args: [join(SOURCES, 'worker.py')], env }
  },
}

/** A virtual environment may be moved: only its scripts, which nobody starts, know where it was made. */
function environment(): string {
  return cacheFolder('peer-python', [REQUIREMENTS])
}

async function findPython(): Promise<string> {
  for (const python of process.env.PYTHON ? [process.env.PYTHON] : PYTHONS) {
    const version = await runTool(python, ['--version'], MISSING).catch(() => '')
    if (Number(/^Python 3\.(\d+)/.exec(version)?.[1]) >= OLDEST_MINOR) return python
  }
  throw new Error(MISSING)
}
