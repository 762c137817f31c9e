import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'

/** Why there is no browser here, or false if there is one. For the `skip` of a test. */
export const noBrowser: string | false = existsSync(CHROMIUM) ? false : `${CHROMIUM} is not installed`

const FLAGS = [
  'headless',
  'no-sandbox',
  'disable-gpu',
  'no-first-run',
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
  'remote-debugging-port=0',
]

export interface Page {
  /** The value of an expression in the page; a promise is awaited. */
  evaluate(expression: string): Promise<unknown>
  /** What the browser complained about: scripts that failed, resources that the policy refused. */
  readonly complaints: readonly string[]
}

export interface Browser {
  open(url: string): Promise<Page>
  close(): Promise<void>
}

/** Starts a headless Chromium with a profile of its own, spoken to over its DevTools protocol. */
export async function startBrowser(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'sluice-chromium-'))
  const args = [...FLAGS, `user-data-dir=${profile}`].map(flag => `--${flag}`)
  const child = spawn(CHROMIUM, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const close = async () => {
    child.kill()
    await exited
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }
  const port = await new Promise<string>((resolve, reject) => {
    let said = ''
    child.stderr.on('data', chunk => {
      said += chunk
      const address = /DevTools listening on ws:\/\/[^:]+:(\d+)/.exec(said)
      if (address) resolve(address[1]!)
    })
    exited.then(() => reject(new Error(`${CHROMIUM} did not start: ${said}`)))
  })
  return { open: url => openPage(port, url), close }
}

async function openPage(port: string, url: string): Promise<Page> {
  const response = await fetch(`http://127.0.0.1:${port}/json/new?about:blank`, { method: 'PUT' })
  const { webSocketDebuggerUrl } = (await response.json()) as { webSocketDebuggerUrl: string }
  const socket = new WebSocket(webSocketDebuggerUrl)
  await new Promise(resolve => socket.addEventListener('open', resolve, { once: true }))
  const waiting = new Map<number, (result: Record<string, unknown>) => void>()
  const complaints: string[] = []
  let loaded = () => {}
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data))
    if (message.id !== undefined) waiting.get(message.id)?.(message.result)
    else if (message.method === 'Page.loadEventFired') loaded()
    else if (/^(Log\.entryAdded|Runtime\.exceptionThrown)$/.test(message.method)) complaints.push(String(data))
  })
  let lastId = 0
  const send = (method: string, params: object = {}) =>
    new Promise<Record<string, unknown>>(resolve => {
      waiting.set(++lastId, resolve)
      socket.send(JSON.stringify({ id: lastId, method, params }))
    })
  for (const domain of ['Log', 'Runtime', 'Page']) await send(`${domain}.enable`)
  const load = new Promise<void>(resolve => {
    loaded = resolve
  })
  await send('Page.navigate', { url })
  await load
  return {
    complaints,
    async evaluate(expression) {
      const { result } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
      return (result as { value: unknown }).value
    },
  }
}
