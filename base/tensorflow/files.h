// The names of the files that a TensorFlow checkpoint consists of, and what people name it by.
//
// Saver writes "<prefix>.index" and "<prefix>.data-00000-of-00002" (or, until 2016, one file
// "<prefix>" or shards "<prefix>-00000-of-00002"), "<prefix>.meta" with the graph, and one state
// file `checkpoint` for the directory.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace zood {

// "m.ckpt-1" of "m.ckpt-1.index", "m.ckpt-1.data-00000-of-00002" and "m.ckpt-1.meta"; nothing for
// any other name.
std::optional<std::string> PrefixOfPart(std::string_view path);

// Whether the file `name` has weights of the checkpoint `prefix`: its index, a data file, a shard.
bool IsWeightPart(std::string_view name, std::string_view prefix);

// Whether shells would expand `path`: its last component has a '*', '?' or '['.
bool IsGlob(std::string_view path);

struct FoundCheckpoint {
  std::string path;    // a prefix, or a file of the old form
  std::string remark;  // a sentence about what was chosen; empty where nothing was
};

// The checkpoint that a directory stands for: what its state file calls the newest, as
// tf.train.latest_checkpoint reads it. A state file that was moved with its directory names paths
// where it was written; their last components count. Of checkpoints that are gone the next newest
// counts. Without a state file: the only checkpoint there is.
//
// PermissionDenied when the state file leads out of the directory; DataLoss when it names nothing;
// NotFound when there is none and not one checkpoint, either; InvalidArgument for one that is too
// large.
absl::StatusOr<FoundCheckpoint> NewestCheckpoint(FileSystem& files, const std::string& directory);

// The one checkpoint whose parts match the pattern, as fnmatch(3) does ("dir/m.ckpt-1*"). Other
// files that match, the graph and the state file, are left alone. NotFound when nothing matches;
// InvalidArgument, naming them, when several checkpoints do.
absl::StatusOr<std::string> CheckpointOfGlob(FileSystem& files, const std::string& pattern);

// Whether the file is a state file: named `checkpoint`, with a model_checkpoint_path.
bool IsStateFile(FileSystem& files, const std::string& path);

}  // namespace zood
