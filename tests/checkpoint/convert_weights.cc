// convert_weights FROM TO: reads a weight file and writes its variables as the ending of TO says.
#include <cstdio>
#include <string>

#include "base/status.h"
#include "checkpoint/numpy/writer.h"
#include "checkpoint/reader.h"
#include "checkpoint/safetensors/writer.h"

namespace zood::checkpoint {
namespace {

absl::Status Convert(const std::string& from, const std::string& to) {
  FileSystem& files = FileSystem::Native();
  ZOOD_ASSIGN_OR_RETURN(const auto reader, Open(files, from));
  ZOOD_ASSIGN_OR_RETURN(const TensorMap tensors, reader->ReadAll());
  if (to.ends_with(".safetensors")) return WriteSafetensors(files, to, tensors, {{"format", "pt"}});
  if (to.ends_with(".npz")) return WriteNpz(files, to, tensors);
  return WriteNpy(files, to, tensors.begin()->second);
}

}  // namespace
}  // namespace zood::checkpoint

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status = zood::checkpoint::Convert(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
