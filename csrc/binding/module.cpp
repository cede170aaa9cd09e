// SPDX-License-Identifier: BSD-3-Clause
// The Python module _C, within the limited API. Importing it runs the registrations of schema.cpp
// and ops.cpp; its functions need no tensor and serve the fake implementations and explain().
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "binding/checks.h"
#include "binding/launch_counts.h"
#include "plan/binary_code.h"
#include "plan/family.h"

#ifndef CONVT3D_CUDA_ARCHS
#define CONVT3D_CUDA_ARCHS ""
#endif

namespace convt3d {
namespace {

// A Python exception is set; unwinds to the entry point.
struct PythonError {};

struct Release {
  void operator()(PyObject* object) const { Py_XDECREF(object); }
};
using Owned = std::unique_ptr<PyObject, Release>;

Owned own(PyObject* object) {
  if (object == nullptr) throw PythonError{};
  return Owned(object);
}

int64_t read_int(PyObject* object) {
  const long long value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred() != nullptr) throw PythonError{};
  return value;
}

std::string read_string(PyObject* object) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object, &size);
  if (text == nullptr) throw PythonError{};
  return {text, static_cast<size_t>(size)};
}

std::vector<int64_t> read_ints(PyObject* sequence) {
  if (sequence == Py_None) return {};
  const Py_ssize_t size = PySequence_Size(sequence);
  if (size < 0) throw PythonError{};
  std::vector<int64_t> values;
  for (Py_ssize_t i = 0; i < size; ++i) {
    values.push_back(read_int(own(PySequence_GetItem(sequence, i)).get()));
  }
  return values;
}

// (sizes, dtype, device), and what a TensorArgument borrows from.
struct OwnedTensor {
  explicit OwnedTensor(PyObject* triple)
      : sizes(read_ints(own(PySequence_GetItem(triple, 0)).get())),
        dtype(read_string(own(PySequence_GetItem(triple, 1)).get())),
        device(read_string(own(PySequence_GetItem(triple, 2)).get())) {}

  TensorArgument argument() const {
    const size_t colon = device.find(':');
    const bool has_index = colon != std::string::npos;
    return {sizes, dtype, std::string_view(device).substr(0, colon),
            has_index ? std::stoi(device.substr(colon + 1)) : -1};
  }

  std::vector<int64_t> sizes;
  std::string dtype, device;
};

Direction read_direction(const std::string& text) {
  for (Direction direction : {Direction::forward, Direction::grad_input, Direction::grad_weight}) {
    if (text == to_string(direction)) return direction;
  }
  throw std::invalid_argument("direction must be forward, grad_input or grad_weight, got '" + text +
                              "'");
}

// Runs body and turns C++ exceptions into Python ones.
template <typename Body>
PyObject* guarded(const Body& body) {
  try {
    return body();
  } catch (const PythonError&) {
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyObject* py_check(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    const char* direction = nullptr;
    PyObject *first, *second, *bias, *extent, *stride, *padding, *output_padding, *dilation;
    long long groups = 1;
    if (PyArg_ParseTuple(args, "sOOOOOOOLO", &direction, &first, &second, &bias, &extent, &stride,
                         &padding, &output_padding, &groups, &dilation) == 0) {
      throw PythonError{};
    }
    const OwnedTensor of_first(first), of_second(second);
    std::optional<OwnedTensor> of_bias;
    if (bias != Py_None) of_bias.emplace(bias);
    const std::vector<int64_t> lists[] = {read_ints(extent), read_ints(stride), read_ints(padding),
                                          read_ints(output_padding), read_ints(dilation)};
    Arguments arguments{read_direction(direction),
                        of_first.argument(),
                        of_second.argument(),
                        {},
                        lists[0],
                        lists[1],
                        lists[2],
                        lists[3],
                        lists[4],
                        groups};
    if (of_bias) arguments.bias = of_bias->argument();
    check(arguments);
    return Py_NewRef(Py_None);
  });
}

Owned candidate_rows(const Description& description, const Device& device) {
  const auto& table = candidates(description.direction, device);
  Owned rows = own(PyList_New(0));
  for (const Candidate& candidate : table) {
    const Verdict verdict = candidate.supports(description, device);
    const std::string config = verdict.ok ? candidate.config(description, device) : "";
    const Owned row =
        own(Py_BuildValue("(sOzz)", to_string(candidate.family), verdict.ok ? Py_True : Py_False,
                          verdict.reason, verdict.ok ? config.c_str() : nullptr));
    if (PyList_Append(rows.get(), row.get()) != 0) throw PythonError{};
  }
  return rows;
}

PyObject* py_plan(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    const char *text = nullptr, *kind = nullptr;
    Device device;
    if (PyArg_ParseTuple(args, "ssiii", &text, &kind, &device.arch, &device.num_sms,
                         &device.num_threads) == 0) {
      throw PythonError{};
    }
    if (std::string(kind) != "cpu" && std::string(kind) != "cuda") {
      throw std::invalid_argument("kind must be cpu or cuda, got '" + std::string(kind) + "'");
    }
    device.kind = std::string(kind) == "cuda" ? DeviceKind::cuda : DeviceKind::cpu;
    const Description description = parse_description(text);
    const Extent3 output = description.problem.output();
    // Families have positions to cut: of an empty batch, whose call launches nothing, those of one.
    Description planned = description;
    planned.problem.batch = std::max<int64_t>(description.problem.batch, 1);
    const Candidate& chosen = plan(planned, device);
    const Owned rows = candidate_rows(planned, device);
    return Py_BuildValue(
        "{s:s,s:(LLL),s:d,s:L,s:s,s:O}", "description", to_string(description).c_str(), "output",
        static_cast<long long>(output[0]), static_cast<long long>(output[1]),
        static_cast<long long>(output[2]), "useful_flops", useful_flops(description.problem),
        "workspace_bytes", static_cast<long long>(chosen.workspace_bytes(planned, device)),
        "family", to_string(chosen.family), "candidates", rows.get());
  });
}

std::string version_text(uint64_t version) {
  return std::to_string(version >> 56) + "." + std::to_string((version >> 48) & 0xff);
}

PyObject* py_build_info(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
#ifdef CONVT3D_WITH_CUDA
    PyObject* cuda = Py_True;
    const char* cuda_version = CONVT3D_CUDA_VERSION;
#else
    PyObject* cuda = Py_False;
    const char* cuda_version = nullptr;
#endif
    return Py_BuildValue("{s:O,s:z,s:s,s:s,s:s,s:s}", "cuda", cuda, "cuda_version", cuda_version,
                         "cuda_archs", CONVT3D_CUDA_ARCHS, "torch_target",
                         version_text(TORCH_TARGET_VERSION).c_str(), "torch_built",
                         version_text(TORCH_ABI_VERSION).c_str(), "compiler", __VERSION__);
  });
}

PyObject* py_launch_counts(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    Owned counts = own(PyDict_New());
    for (const auto& [name, count] : launch_counts()) {
      const Owned value = own(PyLong_FromLongLong(count));
      if (PyDict_SetItemString(counts.get(), name.c_str(), value.get()) != 0) throw PythonError{};
    }
    return counts.release();
  });
}

PyObject* py_kernel_arch(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    int capability = 0;
    if (PyArg_ParseTuple(args, "i", &capability) == 0) throw PythonError{};
    const bool runs = has_code(CONVT3D_CUDA_ARCHS, capability);
    return PyLong_FromLong(runs ? capability : 0);
  });
}

PyMethodDef kMethods[] = {
    {"check", py_check, METH_VARARGS, "Check the arguments of an op; raises RuntimeError."},
    {"plan", py_plan, METH_VARARGS, "What the planner chooses for a problem string, and why."},
    {"kernel_arch", py_kernel_arch, METH_VARARGS,
     "plan()'s arch for a GPU of compute capability 10 * major + minor."},
    {"build_info", py_build_info, METH_NOARGS, "How this binary was built."},
    {"launch_counts", py_launch_counts, METH_NOARGS, "Launches per family since import."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace
}  // namespace convt3d

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C() {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                   "_C",
                                   nullptr,
                                   -1,
                                   convt3d::kMethods,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr};
  return PyModule_Create(&definition);
}
