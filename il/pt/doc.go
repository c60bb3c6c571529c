// Package pt reads and writes .pt files, the files of torch.save.
//
// Writing gives one tensor in one layout that every torch since 1.6 loads,
// with weights_only=True and mmap=True too. Reading takes what any torch wrote
// (zip files since 1.6, the legacy format before) without running anything of
// it: a pickle is verified opcode by opcode before gopickle executes it, only
// the names on an allow-list exist for it, and every size is checked before it
// is used. Tensors that are read are views of the mapped file.
package pt
