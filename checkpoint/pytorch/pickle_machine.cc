#include "checkpoint/pytorch/pickle_machine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::checkpoint {
namespace {

using Kind = PickleValue::Kind;

// An integer of more bytes than this is no number that a weight file holds.
constexpr std::uint64_t kLongestInteger = 64;

// Whether calling the name, or only importing it, may run a program or Python code that the file
// brings along. Old pickles call builtins __builtin__, and os posix or nt.
bool RunsPrograms(std::string_view module, std::string_view name) {
  constexpr auto kModules = std::to_array<std::string_view>(
      {"os", "posix", "nt", "subprocess", "commands", "popen2", "pty", "sys", "shutil", "socket",
       "importlib", "imp", "runpy", "ctypes", "pip", "webbrowser", "timeit", "pdb"});
  constexpr auto kBuiltins = std::to_array<std::string_view>(
      {"eval", "exec", "execfile", "compile", "open", "file", "input", "__import__", "reload",
       "breakpoint", "apply", "globals", "locals", "vars"});
  if (module == "builtins" || module == "__builtin__") {
    return std::ranges::find(kBuiltins, name) != kBuiltins.end();
  }
  const std::string_view root = module.substr(0, module.find('.'));
  return std::ranges::find(kModules, root) != kModules.end();
}

// The stack machine that pickletools describes, with a mark stack of its own so that the main
// stack holds nothing but values. Every opcode consumes at least its own byte and costs constant
// time per byte and per stack entry consumed, so the whole is linear.
class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, std::span<const std::string_view> known_names,
                Budget& budget)
      : bytes_(bytes), known_names_(known_names), budget_(budget) {}

  absl::StatusOr<PickleDocument> Run();

 private:
  using Action = absl::Status (PickleMachine::*)(int argument);
  struct Opcode {
    std::uint8_t code;
    Action action;
    int argument;  // a width in bytes, or a count
  };
  static const Opcode kOpcodes[];
  static std::array<const Opcode*, 256> OpcodeTable();

  // Reading the pickle. Take*: nothing when it ends too early.
  std::size_t offset() const { return at_; }
  std::optional<std::string_view> TakeBytes(std::uint64_t count);
  std::optional<std::uint64_t> TakeUnsigned(int width);
  std::optional<std::string_view> TakeLine();

  // The stack.
  absl::Status Push(PickleValue value);
  absl::Status PushRef(PickleRef ref);
  std::size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  bool Has(std::size_t count) const { return stack_.size() - Floor() >= count; }
  PickleRef Pop();
  absl::StatusOr<std::vector<PickleRef>> PopItems(std::size_t count);
  absl::StatusOr<std::vector<PickleRef>> PopToMark();
  // Appends to the value on top of the stack, which must be of kind `kind` or, as the result of a
  // call is whatever the call makes, of kind `or_kind`.
  absl::Status Extend(std::vector<PickleRef> items, Kind kind, Kind or_kind, const char* what);
  absl::Status ExtendList(std::vector<PickleRef> items, Kind kind);

  absl::Status Damage(const std::string& what) const {
    return DataLoss("malformed pickle at byte {}: {}", opcode_at_, what);
  }
  absl::Status CutShort() const { return Damage("it ends in the middle of an opcode"); }
  absl::Status Underflow() const { return Damage("it takes more from the stack than is there"); }

  // The opcodes.
  absl::Status Protocol(int);
  absl::Status Skip(int width);
  absl::Status Mark(int);
  absl::Status Discard(int);
  absl::Status DiscardToMark(int);
  absl::Status Duplicate(int);
  absl::Status None(int);
  absl::Status Bool(int value);
  absl::Status Integer(int width);
  absl::Status Long(int width);
  absl::Status Real(int);
  absl::Status Text(int width);
  absl::Status Empty(int kind);
  absl::Status TupleOf(int count);
  absl::Status Collect(int kind);
  absl::Status Append(int);
  absl::Status Appends(int);
  absl::Status SetItem(int);
  absl::Status SetItems(int);
  absl::Status Put(int width);
  absl::Status Memoize(int);
  absl::Status Get(int width);
  absl::Status Global(int);
  absl::Status StackGlobal(int);
  absl::Status Instance(int);
  absl::Status Object(int);
  absl::Status Call(int);
  absl::Status Build(int);
  absl::Status PersistentId(int);

  absl::Status PushGlobal(std::string_view module, std::string_view name);
  absl::Status Memorise(std::uint64_t index);

  const std::span<const std::byte> bytes_;
  const std::span<const std::string_view> known_names_;
  Budget& budget_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  PickleDocument document_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<PickleRef> memo_;
};

constexpr PickleRef kNothing = ~PickleRef{0};
constexpr std::uint8_t kStop = '.';

// Protocol 2 is what torch.save writes; 3 to 5 are what it writes when asked to.
const PickleMachine::Opcode PickleMachine::kOpcodes[] = {
    {0x80, &PickleMachine::Protocol, 0},
    {0x95, &PickleMachine::Skip, 8},  // FRAME: a hint for readers of streams
    {'(', &PickleMachine::Mark, 0},
    {'0', &PickleMachine::Discard, 0},
    {'1', &PickleMachine::DiscardToMark, 0},
    {'2', &PickleMachine::Duplicate, 0},
    {'N', &PickleMachine::None, 0},
    {0x88, &PickleMachine::Bool, 1},
    {0x89, &PickleMachine::Bool, 0},
    {'K', &PickleMachine::Integer, 1},
    {'M', &PickleMachine::Integer, 2},
    {'J', &PickleMachine::Integer, 4},
    {0x8a, &PickleMachine::Long, 1},
    {0x8b, &PickleMachine::Long, 4},
    {'G', &PickleMachine::Real, 0},
    {'U', &PickleMachine::Text, 1},   // SHORT_BINSTRING, of Python 2
    {'T', &PickleMachine::Text, 4},   // BINSTRING
    {0x8c, &PickleMachine::Text, 1},  // SHORT_BINUNICODE
    {'X', &PickleMachine::Text, 4},   // BINUNICODE
    {0x8d, &PickleMachine::Text, 8},  // BINUNICODE8
    {'C', &PickleMachine::Text, 1},   // SHORT_BINBYTES
    {'B', &PickleMachine::Text, 4},   // BINBYTES
    {0x8e, &PickleMachine::Text, 8},  // BINBYTES8
    {0x96, &PickleMachine::Text, 8},  // BYTEARRAY8
    {')', &PickleMachine::Empty, static_cast<int>(Kind::kTuple)},
    {']', &PickleMachine::Empty, static_cast<int>(Kind::kList)},
    {'}', &PickleMachine::Empty, static_cast<int>(Kind::kDict)},
    {0x8f, &PickleMachine::Empty, static_cast<int>(Kind::kSet)},
    {0x85, &PickleMachine::TupleOf, 1},
    {0x86, &PickleMachine::TupleOf, 2},
    {0x87, &PickleMachine::TupleOf, 3},
    {'t', &PickleMachine::Collect, static_cast<int>(Kind::kTuple)},
    {'l', &PickleMachine::Collect, static_cast<int>(Kind::kList)},
    {'d', &PickleMachine::Collect, static_cast<int>(Kind::kDict)},
    {0x91, &PickleMachine::Collect, static_cast<int>(Kind::kSet)},  // FROZENSET
    {'a', &PickleMachine::Append, 0},
    {'e', &PickleMachine::Appends, static_cast<int>(Kind::kList)},
    {0x90, &PickleMachine::Appends, static_cast<int>(Kind::kSet)},  // ADDITEMS
    {'s', &PickleMachine::SetItem, 0},
    {'u', &PickleMachine::SetItems, 0},
    {'q', &PickleMachine::Put, 1},
    {'r', &PickleMachine::Put, 4},
    {0x94, &PickleMachine::Memoize, 0},
    {'h', &PickleMachine::Get, 1},
    {'j', &PickleMachine::Get, 4},
    {'c', &PickleMachine::Global, 0},
    {0x93, &PickleMachine::StackGlobal, 0},
    {'i', &PickleMachine::Instance, 0},  // INST and OBJ, of Python 2's classes
    {'o', &PickleMachine::Object, 0},
    {'R', &PickleMachine::Call, 0},
    {0x81, &PickleMachine::Call, 0},  // NEWOBJ
    {0x92, &PickleMachine::Call, 1},  // NEWOBJ_EX: with keyword arguments
    {'b', &PickleMachine::Build, 0},
    {'Q', &PickleMachine::PersistentId, 0},
};

std::array<const PickleMachine::Opcode*, 256> PickleMachine::OpcodeTable() {
  std::array<const Opcode*, 256> table{};
  for (const Opcode& opcode : kOpcodes) table[opcode.code] = &opcode;
  return table;
}

absl::StatusOr<PickleDocument> PickleMachine::Run() {
  static const std::array<const Opcode*, 256> table = OpcodeTable();
  while (true) {
    opcode_at_ = offset();
    const auto code = TakeUnsigned(1);
    if (!code) return Damage("it ends without a STOP");
    if (*code == kStop) break;
    const Opcode* opcode = table[*code];
    if (opcode == nullptr) {
      return Unimplemented("the pickle uses opcode 0x{:02x} at byte {}, which no weight file needs",
                           *code, opcode_at_);
    }
    ZOOD_RETURN_IF_ERROR((this->*opcode->action)(opcode->argument));
  }
  if (!marks_.empty() || stack_.size() != 1) return Damage("STOP with more or less than one value");
  document_.root = stack_.back();
  document_.size = offset();
  return std::move(document_);
}

std::optional<std::string_view> PickleMachine::TakeBytes(std::uint64_t count) {
  if (count > bytes_.size() - at_) return std::nullopt;
  const auto size = static_cast<std::size_t>(count);
  const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
  at_ += size;
  return taken;
}

std::optional<std::uint64_t> PickleMachine::TakeUnsigned(int width) {
  const auto taken = TakeBytes(static_cast<std::uint64_t>(width));
  if (!taken) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < taken->size(); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>((*taken)[i])} << (8 * i);
  }
  return value;
}

std::optional<std::string_view> PickleMachine::TakeLine() {
  const char* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
  const void* end = at_ < bytes_.size() ? std::memchr(begin, '\n', bytes_.size() - at_) : nullptr;
  if (end == nullptr) return std::nullopt;
  const std::string_view line(begin,
                              static_cast<std::size_t>(static_cast<const char*>(end) - begin));
  at_ += line.size() + 1;
  return line;
}

absl::Status PickleMachine::Push(PickleValue value) {
  ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(PickleValue), "objects of the pickle"));
  document_.values.push_back(std::move(value));
  return PushRef(static_cast<PickleRef>(document_.values.size() - 1));
}

absl::Status PickleMachine::PushRef(PickleRef ref) {
  // A reference may later lie in a container instead; it is paid for once.
  ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(PickleRef), "objects of the pickle"));
  stack_.push_back(ref);
  return absl::OkStatus();
}

PickleRef PickleMachine::Pop() {
  const PickleRef ref = stack_.back();
  stack_.pop_back();
  return ref;
}

absl::StatusOr<std::vector<PickleRef>> PickleMachine::PopItems(std::size_t count) {
  if (!Has(count)) return Underflow();
  std::vector<PickleRef> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  return items;
}

absl::StatusOr<std::vector<PickleRef>> PickleMachine::PopToMark() {
  if (marks_.empty()) return Damage("an opcode needs a mark, and there is none");
  auto items = PopItems(stack_.size() - marks_.back());
  marks_.pop_back();
  return items;
}

absl::Status PickleMachine::Extend(std::vector<PickleRef> items, Kind kind, Kind or_kind,
                                   const char* what) {
  if (!Has(1)) return Underflow();
  PickleValue& target = document_.values[stack_.back()];
  if (target.kind != kind && target.kind != or_kind) return Damage(what);
  target.items.insert(target.items.end(), items.begin(), items.end());
  return absl::OkStatus();
}

absl::Status PickleMachine::Protocol(int) {
  const auto version = TakeUnsigned(1);
  if (!version) return CutShort();
  if (*version > 5) return Unimplemented("pickle protocol {} is unknown", *version);
  return absl::OkStatus();
}

absl::Status PickleMachine::Skip(int width) {
  return TakeUnsigned(width) ? absl::OkStatus() : CutShort();
}

absl::Status PickleMachine::Mark(int) {
  ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(std::size_t), "objects of the pickle"));
  marks_.push_back(stack_.size());
  return absl::OkStatus();
}

absl::Status PickleMachine::Discard(int) {
  if (!marks_.empty() && marks_.back() == stack_.size()) {
    marks_.pop_back();
    return absl::OkStatus();
  }
  if (!Has(1)) return Underflow();
  Pop();
  return absl::OkStatus();
}

absl::Status PickleMachine::DiscardToMark(int) { return PopToMark().status(); }

absl::Status PickleMachine::Duplicate(int) { return Has(1) ? PushRef(stack_.back()) : Underflow(); }

absl::Status PickleMachine::None(int) { return Push({}); }

absl::Status PickleMachine::Bool(int value) {
  return Push({.kind = Kind::kBool, .integer = value});
}

absl::Status PickleMachine::Integer(int width) {
  const auto value = TakeUnsigned(width);
  if (!value) return CutShort();
  // Only the four-byte form is signed.
  const std::int64_t integer = width == 4
                                   ? static_cast<std::int32_t>(static_cast<std::uint32_t>(*value))
                                   : static_cast<std::int64_t>(*value);
  return Push({.kind = Kind::kInteger, .integer = integer});
}

absl::Status PickleMachine::Long(int width) {
  const auto size = TakeUnsigned(width);
  if (!size) return CutShort();
  if (*size > kLongestInteger) return Damage(fmt::format("an integer of {} bytes", *size));
  const auto digits = TakeBytes(*size);
  if (!digits) return CutShort();
  if (digits->size() > sizeof(std::int64_t)) return Push({.kind = Kind::kLong, .text = *digits});
  const bool negative = !digits->empty() && (digits->back() & 0x80) != 0;
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  std::memcpy(&value, digits->data(), digits->size());  // little-endian, like the machine
  return Push({.kind = Kind::kInteger, .integer = static_cast<std::int64_t>(value)});
}

absl::Status PickleMachine::Real(int) {
  return TakeBytes(sizeof(double)) ? Push({.kind = Kind::kReal}) : CutShort();
}

absl::Status PickleMachine::Text(int width) {
  const auto size = TakeUnsigned(width);
  if (!size) return CutShort();
  const auto text = TakeBytes(*size);
  if (!text) {
    return Damage(
        fmt::format("a string of {} bytes where {} are left", *size, bytes_.size() - at_));
  }
  return Push({.kind = Kind::kText, .text = *text});
}

absl::Status PickleMachine::Empty(int kind) { return Push({.kind = static_cast<Kind>(kind)}); }

absl::Status PickleMachine::TupleOf(int count) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopItems(static_cast<std::size_t>(count)));
  return Push({.kind = Kind::kTuple, .items = std::move(items)});
}

absl::Status PickleMachine::Collect(int kind) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopToMark());
  if (static_cast<Kind>(kind) == Kind::kDict && items.size() % 2 != 0) {
    return Damage("a key without a value");
  }
  return Push({.kind = static_cast<Kind>(kind), .items = std::move(items)});
}

absl::Status PickleMachine::Append(int) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopItems(1));
  return ExtendList(std::move(items), Kind::kList);
}

absl::Status PickleMachine::Appends(int kind) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopToMark());
  return ExtendList(std::move(items), static_cast<Kind>(kind));
}

// A call may have made a list or a set of any class. What is put into that is not looked at.
absl::Status PickleMachine::ExtendList(std::vector<PickleRef> items, Kind kind) {
  if (Has(1) && document_.values[stack_.back()].kind == Kind::kCall) return absl::OkStatus();
  return Extend(std::move(items), kind, kind, "items for what is no list or set");
}

absl::Status PickleMachine::SetItem(int) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopItems(2));
  return Extend(std::move(items), Kind::kDict, Kind::kCall, "SETITEM on what is no dictionary");
}

absl::Status PickleMachine::SetItems(int) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopToMark());
  if (items.size() % 2 != 0) return Damage("a key without a value");
  return Extend(std::move(items), Kind::kDict, Kind::kCall, "SETITEMS on what is no dictionary");
}

absl::Status PickleMachine::Memorise(std::uint64_t index) {
  if (!Has(1)) return Underflow();
  // Picklers number what they memorise from 0 or 1, so an index beyond the bytes read is damage
  // (and would let five bytes ask for gigabytes).
  if (index > offset()) return Damage(fmt::format("memo index {} is far beyond its use", index));
  if (index >= memo_.size()) {
    ZOOD_RETURN_IF_ERROR(
        budget_.Take((index + 1 - memo_.size()) * sizeof(PickleRef), "objects of the pickle"));
    memo_.resize(static_cast<std::size_t>(index) + 1, kNothing);
  }
  memo_[static_cast<std::size_t>(index)] = stack_.back();
  return absl::OkStatus();
}

absl::Status PickleMachine::Put(int width) {
  const auto index = TakeUnsigned(width);
  return index ? Memorise(*index) : CutShort();
}

absl::Status PickleMachine::Memoize(int) { return Memorise(memo_.size()); }

absl::Status PickleMachine::Get(int width) {
  const auto index = TakeUnsigned(width);
  if (!index) return CutShort();
  if (*index >= memo_.size() || memo_[static_cast<std::size_t>(*index)] == kNothing) {
    return Damage(fmt::format("nothing was memorised as {}", *index));
  }
  return PushRef(memo_[static_cast<std::size_t>(*index)]);
}

absl::Status PickleMachine::PushGlobal(std::string_view module, std::string_view name) {
  for (std::size_t i = 0; i < known_names_.size(); ++i) {
    const std::string_view known = known_names_[i];
    if (known.size() == module.size() + 1 + name.size() && known.starts_with(module) &&
        known[module.size()] == '.' && known.ends_with(name)) {
      return Push({.kind = Kind::kGlobal, .integer = static_cast<std::int64_t>(i), .text = known});
    }
  }
  if (RunsPrograms(module, name)) {
    return InvalidArgument(
        "refused: the pickle names {}.{} (at byte {}), which no weight file needs and which runs "
        "programs; nothing of it was run. Do not load this file with anything else",
        Printable(module), Printable(name), opcode_at_);
  }
  ZOOD_RETURN_IF_ERROR(Push({.kind = Kind::kText, .text = module}));
  ZOOD_RETURN_IF_ERROR(Push({.kind = Kind::kText, .text = name}));
  ZOOD_ASSIGN_OR_RETURN(auto items, PopItems(2));
  return Push(
      {.kind = Kind::kGlobal, .integer = PickleValue::kUnknownName, .items = std::move(items)});
}

absl::Status PickleMachine::Global(int) {
  const auto module = TakeLine();
  const auto name = module ? TakeLine() : std::nullopt;
  return name ? PushGlobal(*module, *name) : CutShort();
}

absl::Status PickleMachine::StackGlobal(int) {
  ZOOD_ASSIGN_OR_RETURN(const auto items, PopItems(2));
  const PickleValue& module = document_[items[0]];
  const PickleValue& name = document_[items[1]];
  if (module.kind != Kind::kText || name.kind != Kind::kText)
    return Damage("a name that is no text");
  return PushGlobal(module.text, name.text);
}

absl::Status PickleMachine::Instance(int) {
  const auto module = TakeLine();
  const auto name = module ? TakeLine() : std::nullopt;
  if (!name) return CutShort();
  ZOOD_ASSIGN_OR_RETURN(auto arguments, PopToMark());
  ZOOD_RETURN_IF_ERROR(PushGlobal(*module, *name));
  ZOOD_RETURN_IF_ERROR(Push({.kind = Kind::kTuple, .items = std::move(arguments)}));
  return Call(0);
}

absl::Status PickleMachine::Object(int) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopToMark());
  if (items.empty()) return Damage("an object without a class");
  ZOOD_RETURN_IF_ERROR(PushRef(items.front()));
  items.erase(items.begin());
  ZOOD_RETURN_IF_ERROR(Push({.kind = Kind::kTuple, .items = std::move(items)}));
  return Call(0);
}

// A call of a name, or of what another call made: a method of an object, say.
absl::Status PickleMachine::Call(int extra) {
  ZOOD_RETURN_IF_ERROR(PopItems(static_cast<std::size_t>(extra)).status());
  ZOOD_ASSIGN_OR_RETURN(auto items, PopItems(2));
  const Kind function = document_[items[0]].kind;
  if (function != Kind::kGlobal && function != Kind::kCall) {
    return Damage("a call of what is no name");
  }
  if (document_[items[1]].kind != Kind::kTuple) {
    return Damage("a call without a tuple of arguments");
  }
  return Push({.kind = Kind::kCall, .items = std::move(items)});
}

// BUILD gives an object its attributes. Weight files give an OrderedDict its _metadata this way,
// the versions of the modules it came from; they say nothing about weights. Nor does what an object
// of an unknown class is made of.
absl::Status PickleMachine::Build(int) {
  if (!Has(2)) return Underflow();
  Pop();
  const Kind kind = document_[stack_.back()].kind;
  if (kind != Kind::kCall && kind != Kind::kDict && kind != Kind::kGlobal) {
    return Damage("BUILD on what has no attributes");
  }
  return absl::OkStatus();
}

absl::Status PickleMachine::PersistentId(int) {
  ZOOD_ASSIGN_OR_RETURN(auto items, PopItems(1));
  return Push({.kind = Kind::kPersistentId, .items = std::move(items)});
}

}  // namespace

std::string PickleDocument::NameOf(PickleRef ref) const {
  const PickleValue* value = &values[ref];
  // A method of an object of ...: as deep as anybody reads.
  for (int depth = 0; depth < 8 && value->kind == Kind::kCall; ++depth) {
    value = &values[value->items[0]];
  }
  if (value->kind != Kind::kGlobal) return "?";
  if (value->integer != PickleValue::kUnknownName) return std::string(value->text);
  return fmt::format("{}.{}", Printable(values[value->items[0]].text),
                     Printable(values[value->items[1]].text));
}

absl::StatusOr<PickleDocument> Unpickle(std::span<const std::byte> bytes,
                                        std::span<const std::string_view> known_names,
                                        Budget& budget) {
  return PickleMachine(bytes, known_names, budget).Run();
}

}  // namespace zood::checkpoint
