import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Chromium brings SwiftShader along, a Vulkan that computes on the CPU. */
const FOLDER = '/usr/lib/chromium'
const DRIVER = join(FOLDER, 'vk_swiftshader_icd.json')

/** Why there is no Vulkan here that needs no GPU, or false if there is one. For the `skip` of a test. */
export const noSoftwareVulkan: string | false = existsSync(DRIVER) ? false : `${DRIVER} is not installed`

/** With this environment the runtime's WebGPU finds a device on any machine that has Chromium. */
export const softwareVulkan: Readonly<Record<string, string>> = { LD_LIBRARY_PATH: FOLDER, VK_ICD_FILENAMES: DRIVER }
