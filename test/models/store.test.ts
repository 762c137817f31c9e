import assert from 'node:assert/strict'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readBundle } from '../../src/models/bundle.ts'
import { compareVersions, FolderStore } from '../../src/models/store.ts'
import { temporaryStore, writeBundle } from './bundle-folder.ts'

describe('the order of versions', () => {
  it('is that of numbers within text', () => {
    const versions = ['10', '9', 'v2', '1.10', '1.9', '01', '1', '2-rc1', '2', 'v10', '20261122', '2.0.0']
    const sorted = versions.toSorted(compareVersions)
    assert.deepEqual(sorted, ['01', '1', '1.9', '1.10', '2', '2-rc1', '2.0.0', '9', '10', '20261122', 'v2', 'v10'])
  })
})

describe('a store in a folder', () => {
  it('lists models and versions, and nothing that is none', async t => {
    const root = await temporaryStore(t)
    for (const version of ['9', '10']) await writeBundle(root, 'iris', version)
    await writeBundle(root, 'digits', 'v1')
    await writeBundle(root, '.hidden', '1')
    await mkdir(join(root, 'empty'))
    await mkdir(join(root, 'iris', '11'))
    await writeFile(join(root, 'README.md'), 'about the store')
    await symlink('10', join(root, 'iris', 'latest'))
    assert.deepEqual(await new FolderStore(root).list(), [
      { name: 'digits', versions: ['v1'] },
      { name: 'iris', versions: ['9', '10'] },
    ])
  })

  it('finds the version asked for, or the highest', async t => {
    const root = await temporaryStore(t)
    for (const version of ['9', '10']) await writeBundle(root, 'iris', version)
    const store = new FolderStore(root)
    assert.equal((await store.find('iris')).spec.version, '10')
    assert.equal((await store.find('iris', '9')).spec.version, '9')
    await writeBundle(root, 'iris', '11')
    assert.equal((await store.find('iris')).spec.version, '11')
  })

  it('says what it has when something is missing', async t => {
    const root = await temporaryStore(t)
    const store = new FolderStore(root)
    const missing = (message: string) => ({ code: 'model-missing', message })
    await assert.rejects(store.find('iris'), missing(`the model store ${root} has no model "iris"; it is empty`))
    for (const version of ['9', '10']) await writeBundle(root, 'iris', version)
    await writeBundle(root, 'digits', '1')
    const all = 'it has digits (1), iris (9, 10)'
    await assert.rejects(store.find('irsi'), missing(`the model store ${root} has no model "irsi"; ${all}`))
    await assert.rejects(store.find('iris', '8'), missing(`model "iris" has no version "8" in ${root}; it has 9, 10`))
  })

  it('does not look outside its folder', async t => {
    const outside = await temporaryStore(t)
    const root = join(outside, 'store')
    await writeBundle(root, 'iris', '1')
    await writeBundle(outside, 'secret', '1')
    const store = new FolderStore(root)
    await assert.rejects(store.find('../secret', '1'), { code: 'model-missing', message: /no model "\.\.\/secret"/ })
    await assert.rejects(store.find('iris', '../../secret/1'), { code: 'model-missing' })
  })

  it('takes a bundle as a whole, and never a version twice', async t => {
    const [from, root] = [await temporaryStore(t), await temporaryStore(t)]
    const store = new FolderStore(root)
    await store.add(await readBundle(await writeBundle(from, 'iris', '1')))
    assert.deepEqual(await store.list(), [{ name: 'iris', versions: ['1'] }])
    assert.equal((await (await store.find('iris', '1')).golden()).length, 1)
    const twice = store.add(await readBundle(await writeBundle(from, 'iris', '1', { 'golden.jsonl': '' })))
    await assert.rejects(twice, { code: 'model-exists', message: /model "iris" has a version "1"/ })
    assert.equal((await (await store.find('iris', '1')).golden()).length, 1, 'what was there stays')
    assert.deepEqual(await readdir(join(root, 'iris')), ['1'], 'nothing is left of the attempt')
  })

  it('that is missing is an error with the layout', async t => {
    const root = join(await temporaryStore(t), 'nowhere')
    await assert.rejects(new FolderStore(root).find('iris'), {
      code: 'model-missing',
      message:
        /the model store .*nowhere cannot be read \(ENOENT.*\); expected a folder that holds <name>\/<version>\/model\.json/,
    })
  })
})
