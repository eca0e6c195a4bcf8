// What the name of a file says about it.
#pragma once

#include <string>
#include <string_view>

namespace zood {

enum class FileKind {
  kImage,    // the ending is one of an image format, whether zood reads it or not
  kUnknown,  // no ending: it may be an image
  kOther,    // what no camera makes: "Thumbs.db", "README", "notes.txt", "clip.mp4"
};

// `name` is the last part of a path, or all of it.
FileKind KindOfName(std::string_view name);

// The part of a path after its last '/', and what follows the last '.' in that, in lower case; ""
// where there is none. "a/IMG.JPG" has the ending "jpg", ".hidden" and "README" have none.
std::string_view BaseName(std::string_view path);
std::string EndingOf(std::string_view path);

// True where any part of a path is hidden or made by a system for itself: ".DS_Store",
// ".ipynb_checkpoints/1.jpg", "__MACOSX/._1.jpg".
bool IsHiddenPath(std::string_view path);

}  // namespace zood
