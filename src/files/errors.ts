import { messageOf, SluiceError } from '../core/errors.ts'

/** Runs `work` on a file; what the system refuses becomes `file-unusable` and names the file. */
export async function using<T>(path: string, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('file-unusable', `${path} cannot be ${what}: ${messageOf(error)}`, { cause: error })
  }
}

export function invalid(path: string, problem: string): SluiceError {
  return new SluiceError('file-invalid', `${path} ${problem}`)
}
