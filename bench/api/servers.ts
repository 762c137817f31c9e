import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const ROOT = new URL('../../', import.meta.url)
const PATIENCE_MS = 60_000

/** A server of the Open Inference Protocol in a process of its own. */
export interface ApiServer {
  readonly name: string
  readonly url: string
  stop(): Promise<void>
}

/** `sluice serve` with its defaults. */
export function startSluice(model: string): Promise<ApiServer> {
  return start('sluice serve', port => {
    const args = ['--import', new URL('dev/tether.ts', ROOT).href, fileURLToPath(new URL('src/cli.ts', ROOT))]
    const settings = { MODEL_STORE: fileURLToPath(new URL('models', ROOT)), LOG_LEVEL: 'warn', HTTP_PORT: String(port) }
    return spawn(process.execPath, [...args, 'serve', '--model', model], {
      env: { PATH: process.env.PATH, ...settings },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
  })
}

/** FastAPI and ONNX Runtime under uvicorn, on the Python that has `requirements.txt`. */
export function startFastApi(model: string, python: string, workers: number): Promise<ApiServer> {
  return start(`FastAPI, ${workers} ${workers === 1 ? 'process' : 'processes'}`, port => {
    const how = [
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--workers',
      String(workers),
      '--loop',
      'uvloop',
      '--http',
      'httptools',
    ]
    return spawn(python, ['-m', 'uvicorn', 'server:app', ...how, '--no-access-log', '--log-level', 'warning'], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      env: { PATH: process.env.PATH, MODEL_FILE: fileURLToPath(new URL(`models/${model}/1/model.onnx`, ROOT)) },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
  })
}

async function start(name: string, spawned: (port: number) => ChildProcess): Promise<ApiServer> {
  const port = await freePort()
  const child = spawned(port)
  const url = `http://127.0.0.1:${port}`
  const ended = once(child, 'close')
  let over = false
  void ended.then(() => {
    over = true
  })
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
  }
  const endsAt = performance.now() + PATIENCE_MS
  while (!(await isReady(url))) {
    if (!over && performance.now() < endsAt) continue
    await stop()
    throw new Error(`${name} ${over ? 'ended before it was ready' : 'is not ready'}`)
  }
  return { name, url, stop }
}

async function isReady(url: string): Promise<boolean> {
  const ready = await fetch(`${url}/v2/health/ready`).catch(() => undefined)
  if (ready?.status === 200) return true
  await new Promise(resolve => setTimeout(resolve, 50))
  return false
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
