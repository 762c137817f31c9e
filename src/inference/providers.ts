import './no-telemetry.ts'

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type InferenceSession, listSupportedBackends } from 'onnxruntime-node'
import { SluiceError } from '../core/errors.ts'
import { labelOf, type Placement, type Provider } from './placement.ts'

/**
 * Names of the execution providers that sessions can use in this installation: those built into the runtime, and those
 * whose libraries somebody has put beside it (docs/inference.md). Whether a device answers is not asked.
 */
export function availableProviders(): string[] {
  return listSupportedBackends()
    .filter(backend => backend.bundled || isInstalled(backend.name))
    .map(backend => backend.name)
}

/**
 * The placements without the alternatives that this installation lacks, and the labels of those left out.
 * @throws SluiceError `provider-unavailable` where a placement keeps no alternative, listing what there is.
 */
export function usablePlacements(
  placements: readonly Placement[],
  available: readonly string[],
): { usable: Placement[]; leftOut: string[] } {
  const leftOut = new Set<string>()
  const usable = placements.map(placement => {
    const kept = placement.filter(provider => available.includes(provider.name))
    for (const provider of placement) if (!kept.includes(provider)) leftOut.add(labelOf(provider))
    if (kept.length > 0) return kept
    throw new SluiceError(
      'provider-unavailable',
      `SESSIONS asks for ${placement.map(labelOf).join('|')}, and this ONNX Runtime (${process.platform} ` +
        `${process.arch}) has ${available.join(', ')}`,
    )
  })
  return { usable, leftOut: [...leftOut] }
}

/**
 * Session options for one provider.
 * Spinning is off: a pool of threads that spins between runs takes whole cores from the sessions and tasks beside it.
 * Only fatal lines are logged by the runtime itself, because every error also reaches us as an exception.
 */
export function sessionOptions(provider: Provider, threads: number): InferenceSession.SessionOptions {
  return {
    executionProviders: executionProviders(provider),
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 4,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  }
}

function executionProviders({ name, device }: Provider): InferenceSession.ExecutionProviderConfig[] {
  if (device === null) return [name]
  // TensorRT takes only some operators; what it leaves runs on CUDA of the same device rather than on the CPU.
  const names = name === 'tensorrt' ? ['tensorrt', 'cuda'] : [name]
  return names.map(each => ({ name: each, deviceId: device }))
}

/** Whether the library of a provider that is not built in lies beside the runtime, the only place it is loaded from. */
function isInstalled(name: string): boolean {
  const packageFile = createRequire(import.meta.url).resolve('onnxruntime-node/package.json')
  const folder = join(dirname(packageFile), 'bin', 'napi-v6', process.platform, process.arch)
  const [prefix, suffix] = process.platform === 'win32' ? ['', '.dll'] : ['lib', '.so']
  return existsSync(join(folder, `${prefix}onnxruntime_providers_${name}${suffix}`))
}
