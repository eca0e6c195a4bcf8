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

// An integer of more bytes than this is not a number that a weight file holds.
constexpr std::uint64_t kLongestInteger = 64;

constexpr PickleRef kNothing = ~PickleRef{0};
constexpr std::uint8_t kStop = '.';

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

  absl::StatusOr<PickleDocument> Run() {
    static const std::array<const Opcode*, 256> table = OpcodeTable();
    while (true) {
      opcode_at_ = at_;
      const auto code = TakeUnsigned(1);
      if (!code) return Damage("it ends without a STOP");
      if (*code == kStop) break;
      const Opcode* opcode = table[*code];
      if (opcode == nullptr) {
        return Unimplemented(
            "the pickle uses opcode 0x{:02x} at byte {}, which no weight file needs", *code,
            opcode_at_);
      }
      Arguments arguments = {.kind = opcode->kind, .number = opcode->number};
      ZOOD_RETURN_IF_ERROR(TakeOperand(*opcode, arguments));
      ZOOD_RETURN_IF_ERROR(PopItems(opcode->pops, arguments.items));
      ZOOD_RETURN_IF_ERROR((this->*opcode->action)(std::move(arguments)));
    }
    if (!marks_.empty() || stack_.size() != 1)
      return Damage("STOP with more or less than one value");
    document_.root = stack_.back();
    document_.size = at_;
    return std::move(document_);
  }

 private:
  // What follows an opcode in the file.
  enum class Operand { kNone, kUnsigned, kSigned, kSized, kNames };
  // What an opcode works on: its operand, and the items that it takes from the stack.
  struct Arguments {
    Kind kind = Kind::kNone;
    std::int64_t number = 0;  // of kUnsigned and kSigned; else the opcode's own
    std::string_view text;    // of kSized; of kNames the module
    std::string_view name;    // of kNames
    std::vector<PickleRef> items;
  };
  using Action = absl::Status (PickleMachine::*)(Arguments);
  struct Opcode {
    std::uint8_t code;
    Operand operand;
    int width;  // bytes of the operand, or of its size
    int pops;   // how many items it takes, or kToMark
    Action action;
    Kind kind = Kind::kNone;
    std::int64_t number = 0;
  };
  static constexpr int kToMark = -1;
  static const Opcode kOpcodes[];
  static std::array<const Opcode*, 256> OpcodeTable();

  absl::Status Damage(const std::string& what) const {
    return DataLoss("malformed pickle at byte {}: {}", opcode_at_, what);
  }
  absl::Status CutShort() const { return Damage("it ends in the middle of an opcode"); }
  absl::Status Underflow() const { return Damage("it takes more from the stack than is there"); }

  // Reading the pickle. Take*: nothing when it ends too early.
  std::optional<std::string_view> TakeBytes(std::uint64_t count) {
    if (count > bytes_.size() - at_) return std::nullopt;
    const auto size = static_cast<std::size_t>(count);
    const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return taken;
  }

  std::optional<std::uint64_t> TakeUnsigned(int width) {
    const auto taken = TakeBytes(static_cast<std::uint64_t>(width));
    if (!taken) return std::nullopt;
    std::uint64_t value = 0;
    std::memcpy(&value, taken->data(), taken->size());  // little-endian, like the machine
    return value;
  }

  std::optional<std::string_view> TakeLine() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_,
                                bytes_.size() - at_);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    at_ += end + 1;
    return rest.substr(0, end);
  }

  absl::Status TakeOperand(const Opcode& opcode, Arguments& arguments) {
    if (opcode.operand == Operand::kNone) return absl::OkStatus();
    if (opcode.operand == Operand::kNames) {
      const auto module = TakeLine();
      const auto name = module ? TakeLine() : std::nullopt;
      if (!name) return CutShort();
      arguments.text = *module;
      arguments.name = *name;
      return absl::OkStatus();
    }
    const auto number = TakeUnsigned(opcode.width);
    if (!number) return CutShort();
    if (opcode.operand != Operand::kSized) {
      arguments.number = opcode.operand == Operand::kSigned
                             ? static_cast<std::int32_t>(static_cast<std::uint32_t>(*number))
                             : static_cast<std::int64_t>(*number);
      return absl::OkStatus();
    }
    const auto text = TakeBytes(*number);
    if (!text) {
      return Damage(fmt::format("{} of {} bytes where {} are left",
                                opcode.kind == Kind::kText ? "a string" : "an integer", *number,
                                bytes_.size() - at_));
    }
    arguments.text = *text;
    return absl::OkStatus();
  }

  // The stack.
  absl::Status Push(PickleValue value) {
    ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(PickleValue), "objects of the pickle"));
    document_.values.push_back(std::move(value));
    return PushRef(static_cast<PickleRef>(document_.values.size() - 1));
  }

  absl::Status PushRef(PickleRef ref) {
    // A reference may later lie in a container instead; it is paid for once.
    ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(PickleRef), "objects of the pickle"));
    stack_.push_back(ref);
    return absl::OkStatus();
  }

  bool Has(std::size_t count) const {
    return stack_.size() - (marks_.empty() ? 0 : marks_.back()) >= count;
  }
  absl::Status PopItems(int count, std::vector<PickleRef>& items) {
    if (count == kToMark && marks_.empty())
      return Damage("an opcode needs a mark, and there is none");
    const std::size_t size =
        count == kToMark ? stack_.size() - marks_.back() : static_cast<std::size_t>(count);
    if (!Has(size)) return Underflow();
    items.assign(stack_.end() - static_cast<std::ptrdiff_t>(size), stack_.end());
    stack_.resize(stack_.size() - size);
    if (count == kToMark) marks_.pop_back();
    return absl::OkStatus();
  }

  // The opcodes.
  absl::Status Ignore(Arguments) { return absl::OkStatus(); }
  absl::Status Protocol(Arguments arguments) {
    if (arguments.number > 5)
      return Unimplemented("pickle protocol {} is unknown", arguments.number);
    return absl::OkStatus();
  }

  absl::Status Mark(Arguments) {
    ZOOD_RETURN_IF_ERROR(budget_.Take(sizeof(std::size_t), "objects of the pickle"));
    marks_.push_back(stack_.size());
    return absl::OkStatus();
  }

  absl::Status Discard(Arguments) {
    if (!marks_.empty() && marks_.back() == stack_.size()) {
      marks_.pop_back();
      return absl::OkStatus();
    }
    if (!Has(1)) return Underflow();
    stack_.pop_back();
    return absl::OkStatus();
  }

  absl::Status Duplicate(Arguments) { return Has(1) ? PushRef(stack_.back()) : Underflow(); }

  absl::Status Value(Arguments arguments) {
    if (arguments.kind == Kind::kDict && arguments.items.size() % 2 != 0) {
      return Damage("a key without a value");
    }
    return Push({.kind = arguments.kind,
                 .integer = arguments.number,
                 .text = arguments.text,
                 .items = std::move(arguments.items)});
  }

  absl::Status Long(Arguments arguments) {
    const std::string_view digits = arguments.text;
    if (digits.size() > kLongestInteger) {
      return Damage(fmt::format("an integer of {} bytes", digits.size()));
    }
    if (digits.size() > sizeof(std::int64_t)) return Push({.kind = Kind::kLong, .text = digits});
    const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), digits.size());  // little-endian, like the machine
    return Push({.kind = Kind::kInteger, .integer = static_cast<std::int64_t>(value)});
  }

  // Appends to the value on top of the stack, which is of the opcode's kind or the result of a
  // call.
  absl::Status Extend(Arguments arguments) {
    if (!Has(1)) return Underflow();
    const bool pairs = arguments.kind == Kind::kDict;
    if (pairs && arguments.items.size() % 2 != 0) return Damage("a key without a value");
    PickleValue& target = document_.values[stack_.back()];
    // A call may have made a list or a set of any class. What is put into that is not read.
    if (!pairs && target.kind == Kind::kCall) return absl::OkStatus();
    if (target.kind != arguments.kind && target.kind != Kind::kCall) {
      return Damage(pairs ? "items for what is not a dictionary"
                          : "items for what is not a list or set");
    }
    target.items.insert(target.items.end(), arguments.items.begin(), arguments.items.end());
    return absl::OkStatus();
  }

  absl::Status Put(Arguments arguments) {
    if (!Has(1)) return Underflow();
    // Picklers number their memo from 0 or 1, so an index beyond the bytes read is damage
    // (and would let five bytes request gigabytes).
    const auto index = static_cast<std::size_t>(arguments.number);
    if (index > at_) return Damage(fmt::format("memo index {} is far beyond its use", index));
    if (index >= memo_.size()) {
      ZOOD_RETURN_IF_ERROR(
          budget_.Take((index + 1 - memo_.size()) * sizeof(PickleRef), "objects of the pickle"));
      memo_.resize(index + 1, kNothing);
    }
    memo_[index] = stack_.back();
    return absl::OkStatus();
  }

  absl::Status Memoize(Arguments arguments) {
    arguments.number = static_cast<std::int64_t>(memo_.size());
    return Put(std::move(arguments));
  }

  absl::Status Get(Arguments arguments) {
    const auto index = static_cast<std::size_t>(arguments.number);
    if (index >= memo_.size() || memo_[index] == kNothing) {
      return Damage(fmt::format("the memo has no entry {}", index));
    }
    return PushRef(memo_[index]);
  }

  absl::Status Global(Arguments arguments) {
    const auto& [kind, number, module, name, items] = arguments;
    for (std::size_t i = 0; i < known_names_.size(); ++i) {
      const std::string_view known = known_names_[i];
      if (known.size() == module.size() + 1 + name.size() && known.starts_with(module) &&
          known[module.size()] == '.' && known.ends_with(name)) {
        return Push(
            {.kind = Kind::kGlobal, .integer = static_cast<std::int64_t>(i), .text = known});
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
    ZOOD_RETURN_IF_ERROR(PopItems(2, arguments.items));
    return Push({.kind = Kind::kGlobal,
                 .integer = PickleValue::kUnknownName,
                 .items = std::move(arguments.items)});
  }

  absl::Status StackGlobal(Arguments arguments) {
    const PickleValue& module = document_[arguments.items[0]];
    const PickleValue& name = document_[arguments.items[1]];
    if (module.kind != Kind::kText || name.kind != Kind::kText) {
      return Damage("a name that is not text");
    }
    return Global({.text = module.text, .name = name.text});
  }

  absl::Status Instance(Arguments arguments) {
    ZOOD_RETURN_IF_ERROR(Global({.text = arguments.text, .name = arguments.name}));
    arguments.items.insert(arguments.items.begin(), stack_.back());
    stack_.pop_back();
    return Object(std::move(arguments));
  }

  absl::Status Object(Arguments arguments) {
    if (arguments.items.empty()) return Damage("an object without a class");
    const PickleRef type = arguments.items.front();
    arguments.items.erase(arguments.items.begin());
    ZOOD_RETURN_IF_ERROR(Push({.kind = Kind::kTuple, .items = std::move(arguments.items)}));
    const PickleRef tuple = stack_.back();
    stack_.pop_back();
    return Call({.items = {type, tuple}});
  }

  // A call of a name, or of what another call made: a method of an object, say. Keyword arguments
  // are not read.
  absl::Status Call(Arguments arguments) {
    const Kind function = document_[arguments.items[0]].kind;
    if (function != Kind::kGlobal && function != Kind::kCall) {
      return Damage("a call of what is not a name");
    }
    if (document_[arguments.items[1]].kind != Kind::kTuple) {
      return Damage("a call without a tuple of arguments");
    }
    arguments.items.resize(2);
    return Push({.kind = Kind::kCall, .items = std::move(arguments.items)});
  }

  // BUILD gives an object its attributes. Weight files give an OrderedDict its _metadata this way,
  // the versions of the modules it came from; they say nothing about weights. Nor does what an
  // object of an unknown class is made of.
  absl::Status Build(Arguments) {
    if (!Has(1)) return Underflow();
    const Kind kind = document_[stack_.back()].kind;
    if (kind != Kind::kCall && kind != Kind::kDict && kind != Kind::kGlobal) {
      return Damage("BUILD on what has no attributes");
    }
    return absl::OkStatus();
  }

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

// Protocol 2 is what torch.save writes by default, 3 to 5 what it writes on request.
// clang-format off
const PickleMachine::Opcode PickleMachine::kOpcodes[] = {
    {0x80, Operand::kUnsigned, 1, 0, &PickleMachine::Protocol},
    {0x95, Operand::kUnsigned, 8, 0, &PickleMachine::Ignore},  // FRAME: a hint for streams
    {'(', Operand::kNone, 0, 0, &PickleMachine::Mark},
    {'0', Operand::kNone, 0, 0, &PickleMachine::Discard},
    {'1', Operand::kNone, 0, kToMark, &PickleMachine::Ignore},
    {'2', Operand::kNone, 0, 0, &PickleMachine::Duplicate},
    {'N', Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kNone},
    {0x88, Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kBool, 1},
    {0x89, Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kBool, 0},
    {'K', Operand::kUnsigned, 1, 0, &PickleMachine::Value, Kind::kInteger},
    {'M', Operand::kUnsigned, 2, 0, &PickleMachine::Value, Kind::kInteger},
    {'J', Operand::kSigned, 4, 0, &PickleMachine::Value, Kind::kInteger},
    {0x8a, Operand::kSized, 1, 0, &PickleMachine::Long},
    {0x8b, Operand::kSized, 4, 0, &PickleMachine::Long},
    {'G', Operand::kUnsigned, 8, 0, &PickleMachine::Value, Kind::kReal},
    {'U', Operand::kSized, 1, 0, &PickleMachine::Value, Kind::kText},   // SHORT_BINSTRING, of Python 2
    {'T', Operand::kSized, 4, 0, &PickleMachine::Value, Kind::kText},   // BINSTRING
    {0x8c, Operand::kSized, 1, 0, &PickleMachine::Value, Kind::kText},  // SHORT_BINUNICODE
    {'X', Operand::kSized, 4, 0, &PickleMachine::Value, Kind::kText},   // BINUNICODE
    {0x8d, Operand::kSized, 8, 0, &PickleMachine::Value, Kind::kText},  // BINUNICODE8
    {'C', Operand::kSized, 1, 0, &PickleMachine::Value, Kind::kText},   // SHORT_BINBYTES
    {'B', Operand::kSized, 4, 0, &PickleMachine::Value, Kind::kText},   // BINBYTES
    {0x8e, Operand::kSized, 8, 0, &PickleMachine::Value, Kind::kText},  // BINBYTES8
    {0x96, Operand::kSized, 8, 0, &PickleMachine::Value, Kind::kText},  // BYTEARRAY8
    {')', Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kTuple},
    {']', Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kList},
    {'}', Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kDict},
    {0x8f, Operand::kNone, 0, 0, &PickleMachine::Value, Kind::kSet},
    {0x85, Operand::kNone, 0, 1, &PickleMachine::Value, Kind::kTuple},
    {0x86, Operand::kNone, 0, 2, &PickleMachine::Value, Kind::kTuple},
    {0x87, Operand::kNone, 0, 3, &PickleMachine::Value, Kind::kTuple},
    {'t', Operand::kNone, 0, kToMark, &PickleMachine::Value, Kind::kTuple},
    {'l', Operand::kNone, 0, kToMark, &PickleMachine::Value, Kind::kList},
    {'d', Operand::kNone, 0, kToMark, &PickleMachine::Value, Kind::kDict},
    {0x91, Operand::kNone, 0, kToMark, &PickleMachine::Value, Kind::kSet},  // FROZENSET
    {'Q', Operand::kNone, 0, 1, &PickleMachine::Value, Kind::kPersistentId},
    {'a', Operand::kNone, 0, 1, &PickleMachine::Extend, Kind::kList},
    {'e', Operand::kNone, 0, kToMark, &PickleMachine::Extend, Kind::kList},
    {0x90, Operand::kNone, 0, kToMark, &PickleMachine::Extend, Kind::kSet},  // ADDITEMS
    {'s', Operand::kNone, 0, 2, &PickleMachine::Extend, Kind::kDict},
    {'u', Operand::kNone, 0, kToMark, &PickleMachine::Extend, Kind::kDict},
    {'q', Operand::kUnsigned, 1, 0, &PickleMachine::Put},
    {'r', Operand::kUnsigned, 4, 0, &PickleMachine::Put},
    {0x94, Operand::kNone, 0, 0, &PickleMachine::Memoize},
    {'h', Operand::kUnsigned, 1, 0, &PickleMachine::Get},
    {'j', Operand::kUnsigned, 4, 0, &PickleMachine::Get},
    {'c', Operand::kNames, 0, 0, &PickleMachine::Global},
    {0x93, Operand::kNone, 0, 2, &PickleMachine::StackGlobal},
    {'i', Operand::kNames, 0, kToMark, &PickleMachine::Instance},  // of Python 2's classes
    {'o', Operand::kNone, 0, kToMark, &PickleMachine::Object},
    {'R', Operand::kNone, 0, 2, &PickleMachine::Call},
    {0x81, Operand::kNone, 0, 2, &PickleMachine::Call},  // NEWOBJ
    {0x92, Operand::kNone, 0, 3, &PickleMachine::Call},  // NEWOBJ_EX: with keyword arguments
    {'b', Operand::kNone, 0, 1, &PickleMachine::Build},
};
// clang-format on

std::array<const PickleMachine::Opcode*, 256> PickleMachine::OpcodeTable() {
  std::array<const Opcode*, 256> table{};
  for (const Opcode& opcode : kOpcodes) table[opcode.code] = &opcode;
  return table;
}

}  // namespace

std::string PickleDocument::NameOf(PickleRef ref) const {
  const PickleValue* value = &values[ref];
  // A method of an object of ...: as deep as a message needs.
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
